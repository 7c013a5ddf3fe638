//! The endpoints where cloud clients get their tokens.

mod client;

use client::{client, received};
use literllm_mock::{Mock, Options};
use reqwest::{Method, Response};
use serde_json::Value;

async fn mock() -> Mock {
    Mock::start(Options::default()).await.expect("loopback has a free port")
}

async fn ask(mock: &Mock, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut request = client().request(method, format!("{}{path}", mock.url())).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the mock answers")
}

async fn json(response: Response) -> Value {
    serde_json::from_str(&received(response).await.0).expect("the answer is JSON")
}

const GOOD_JWT: &str =
    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtZSJ9.c2ln";

#[tokio::test]
async fn google_wants_an_assertion_and_gives_a_new_token_each_time() {
    let mock = mock().await;
    let first = json(ask(&mock, Method::POST, "/token", &[], GOOD_JWT).await).await;
    let second = json(ask(&mock, Method::POST, "/mock/expires_in=60/token", &[], GOOD_JWT).await).await;
    assert_eq!((&first["expires_in"], &second["expires_in"]), (&3600.into(), &60.into()));
    assert_ne!(first["access_token"], second["access_token"]);
    let refresh = ask(&mock, Method::POST, "/token", &[], "grant_type=refresh_token&refresh_token=r").await;
    assert_eq!(refresh.status(), 200);
    for bad in ["", "grant_type=other", "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b.c"] {
        let response = ask(&mock, Method::POST, "/token", &[], bad).await;
        assert_eq!(response.status(), 400);
        assert_eq!(json(response).await["error"], "invalid_grant");
    }
    assert_eq!(mock.log(None).len(), 6);
}

#[tokio::test]
async fn googles_metadata_server_wants_its_flavor() {
    let mock = mock().await;
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    assert_eq!(ask(&mock, Method::GET, path, &[], "").await.status(), 403);
    let response = ask(&mock, Method::GET, path, &[("metadata-flavor", "Google")], "").await;
    assert_eq!(response.headers()["metadata-flavor"], "Google");
    assert_eq!(json(response).await["token_type"], "Bearer");
    let project = ask(&mock, Method::GET, "/computeMetadata/v1/project/project-id", &[("metadata-flavor", "Google")], "").await;
    assert_eq!(received(project).await.0, "mock-project");
}

#[tokio::test]
async fn entra_wants_a_client_and_its_secret() {
    let mock = mock().await;
    let path = "/my-tenant/oauth2/v2.0/token";
    let form =
        "grant_type=client_credentials&client_id=a&client_secret=b&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default";
    let token = json(ask(&mock, Method::POST, path, &[], form).await).await;
    assert_eq!(token["access_token"], "entra-mock-1");
    let response = ask(&mock, Method::POST, path, &[], "client_id=a&scope=s").await;
    assert_eq!(response.status(), 400);
    assert!(received(response).await.0.contains("Missing client_secret"));
}

#[tokio::test]
async fn aws_machines_containers_and_web_identities_get_credentials() {
    let mock = mock().await;
    let session = ask(&mock, Method::PUT, "/latest/api/token", &[("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "").await;
    let session = received(session).await.0;
    let roles = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(ask(&mock, Method::GET, roles, &[], "").await.status(), 401);
    let token = [("x-aws-ec2-metadata-token", session.as_str())];
    let role = received(ask(&mock, Method::GET, roles, &token, "").await).await.0;
    let credentials = json(ask(&mock, Method::GET, &format!("{roles}{role}"), &token, "").await).await;
    assert_eq!(credentials["Code"], "Success");
    assert!(credentials["Expiration"].as_str().expect("it expires").ends_with('Z'));

    let container = json(ask(&mock, Method::GET, "/v2/credentials/some-id", &[], "").await).await;
    assert!(container["AccessKeyId"].as_str().expect("it has a key").starts_with("ASIAMOCK"));

    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn&RoleSessionName=s&WebIdentityToken=t";
    let sts = ask(&mock, Method::POST, "/", &[], form).await;
    assert_eq!(sts.headers()["content-type"], "text/xml");
    assert!(received(sts).await.0.contains("<SessionToken>aws-session-mock-"));
    assert_eq!(ask(&mock, Method::POST, "/", &[], "Action=AssumeRoleWithWebIdentity").await.status(), 400);
}

#[tokio::test]
async fn faults_act_on_these_endpoints_too() {
    let mock = mock().await;
    let path = "/mock/status=503,fail_times=1,id=t/token";
    assert_eq!(ask(&mock, Method::POST, path, &[], GOOD_JWT).await.status(), 503);
    assert_eq!(ask(&mock, Method::POST, path, &[], GOOD_JWT).await.status(), 200);
    assert_eq!(mock.log("t").len(), 2);
}
