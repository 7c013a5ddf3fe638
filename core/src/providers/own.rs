//! The providers that speak a dialect of their own: a table, beside the catalogue of OpenAI-compatible hosts.

use std::sync::OnceLock;

use super::catalog::{Host, Quirks};
use super::{Provider, anthropic, azure, bedrock, cohere, gemini, mistral, ollama, vertex};
use crate::types::Str;

/// One such provider.
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    base_url: &'static str,
    key_vars: &'static [&'static str],
    base_url_vars: &'static [&'static str],
    key_prefixes: &'static [&'static str],
    /// What it may be told beside key and address, by name, and the variables that say so where the client does not.
    settings: &'static [Setting],
    local: bool,
    source: &'static str,
    dialect: &'static dyn Provider,
}

type Setting = (&'static str, &'static [&'static str]);

/// Whom AWS takes calls for, and where it is asked.
const AWS: &[Setting] = &[
    ("region", &["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_REGION_NAME"]),
    ("access_key_id", &["AWS_ACCESS_KEY_ID"]),
    ("secret_access_key", &["AWS_SECRET_ACCESS_KEY"]),
    ("session_token", &["AWS_SESSION_TOKEN"]),
    ("profile", &["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]),
    ("credentials_file", &["AWS_SHARED_CREDENTIALS_FILE"]),
    ("config_file", &["AWS_CONFIG_FILE"]),
    ("role_arn", &["AWS_ROLE_ARN"]),
    ("role_session_name", &["AWS_ROLE_SESSION_NAME"]),
    ("web_identity_token_file", &["AWS_WEB_IDENTITY_TOKEN_FILE"]),
    ("sts_endpoint", &["AWS_ENDPOINT_URL_STS"]),
    ("container_uri", &["AWS_CONTAINER_CREDENTIALS_FULL_URI"]),
    ("container_relative_uri", &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]),
    ("container_token", &["AWS_CONTAINER_AUTHORIZATION_TOKEN"]),
    ("container_token_file", &["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]),
    ("metadata_endpoint", &["AWS_EC2_METADATA_SERVICE_ENDPOINT"]),
    ("metadata_disabled", &["AWS_EC2_METADATA_DISABLED"]),
];

const ROWS: &[Row] = &[
    Row {
        name: "anthropic",
        aliases: &[],
        base_url: "https://api.anthropic.com",
        key_vars: &["ANTHROPIC_API_KEY"],
        base_url_vars: &["ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"],
        key_prefixes: &[],
        settings: &[],
        local: false,
        source: "PyPI anthropic, anthropic/_client.py",
        dialect: &anthropic::Anthropic,
    },
    Row {
        name: "gemini",
        aliases: &["google", "google_ai_studio"],
        base_url: "https://generativelanguage.googleapis.com",
        key_vars: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        base_url_vars: &["GEMINI_API_BASE", "GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"],
        key_prefixes: &["AIza", "AQ."],
        settings: &[],
        local: false,
        source: "PyPI google-genai, google/genai/_api_client.py and _base_url.py",
        dialect: &gemini::Gemini,
    },
    Row {
        name: "vertex_ai",
        aliases: &["vertex", "google_vertex"],
        base_url: "https://aiplatform.googleapis.com",
        key_vars: &["VERTEXAI_ACCESS_TOKEN", "VERTEX_API_KEY"],
        base_url_vars: &["VERTEXAI_API_BASE", "VERTEX_API_BASE", "GOOGLE_VERTEX_BASE_URL"],
        key_prefixes: &["AIza", "AQ."],
        settings: &[
            ("project", &["VERTEXAI_PROJECT", "VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"]),
            ("location", &["VERTEXAI_LOCATION", "VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION"]),
            ("credentials", &["VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"]),
            ("config_dir", &["CLOUDSDK_CONFIG"]),
            ("metadata_host", &["GCE_METADATA_HOST"]),
        ],
        local: false,
        source: "PyPI google-genai, google/genai/_api_client.py; PyPI litellm, llms/vertex_ai/vertex_llm_base.py",
        dialect: &vertex::Vertex,
    },
    Row {
        name: "bedrock",
        aliases: &["bedrock_converse"],
        base_url: "https://bedrock-runtime.us-east-1.amazonaws.com",
        key_vars: &["AWS_BEARER_TOKEN_BEDROCK"],
        base_url_vars: &["AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_BEDROCK_RUNTIME_ENDPOINT"],
        key_prefixes: &[],
        settings: AWS,
        local: false,
        source: "PyPI botocore, botocore/data/bedrock-runtime/2023-09-30/service-2.json",
        dialect: &bedrock::Bedrock,
    },
    Row {
        name: "azure",
        aliases: &["azure_openai"],
        base_url: "https://{AZURE_API_BASE}",
        key_vars: &["AZURE_API_KEY", "AZURE_OPENAI_API_KEY"],
        base_url_vars: &["AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"],
        key_prefixes: &[],
        settings: &[
            ("api_version", &["AZURE_API_VERSION", "OPENAI_API_VERSION"]),
            ("token", &["AZURE_AD_TOKEN"]),
            ("tenant_id", &["AZURE_TENANT_ID"]),
            ("client_id", &["AZURE_CLIENT_ID"]),
            ("client_secret", &["AZURE_CLIENT_SECRET"]),
            ("federated_token_file", &["AZURE_FEDERATED_TOKEN_FILE"]),
            ("authority_host", &["AZURE_AUTHORITY_HOST"]),
            ("scope", &["AZURE_SCOPE"]),
        ],
        local: false,
        source: "PyPI openai, openai/lib/azure.py; PyPI litellm, llms/azure/common_utils.py",
        dialect: &azure::AzureOpenAi,
    },
    Row {
        name: "azure_ai",
        aliases: &["azure_foundry"],
        base_url: "https://{AZURE_AI_API_BASE}",
        key_vars: &["AZURE_AI_API_KEY"],
        base_url_vars: &["AZURE_AI_API_BASE"],
        key_prefixes: &[],
        settings: &[
            ("api_version", &["AZURE_AI_API_VERSION"]),
            ("token", &["AZURE_AD_TOKEN"]),
            ("tenant_id", &["AZURE_TENANT_ID"]),
            ("client_id", &["AZURE_CLIENT_ID"]),
            ("client_secret", &["AZURE_CLIENT_SECRET"]),
            ("federated_token_file", &["AZURE_FEDERATED_TOKEN_FILE"]),
            ("authority_host", &["AZURE_AUTHORITY_HOST"]),
            ("scope", &["AZURE_SCOPE"]),
        ],
        local: false,
        source: "PyPI azure-ai-inference, azure/ai/inference/_client.py; PyPI litellm, llms/azure_ai/chat/transformation.py",
        dialect: &azure::Foundry,
    },
    Row {
        name: "cohere",
        aliases: &["cohere_chat"],
        base_url: "https://api.cohere.com",
        key_vars: &["COHERE_API_KEY", "CO_API_KEY"],
        base_url_vars: &["COHERE_API_BASE", "CO_API_URL"],
        key_prefixes: &[],
        settings: &[],
        local: false,
        source: "PyPI cohere, cohere/environment.py and cohere/base_client.py",
        dialect: &cohere::Cohere,
    },
    Row {
        name: "ollama",
        aliases: &["ollama_chat"],
        base_url: "http://localhost:11434",
        key_vars: &[],
        base_url_vars: &["OLLAMA_API_BASE", "OLLAMA_HOST"],
        key_prefixes: &[],
        settings: &[],
        local: true,
        source: "PyPI ollama, ollama/_client.py",
        dialect: &ollama::Ollama,
    },
    Row {
        name: "mistral",
        aliases: &["mistralai"],
        base_url: "https://api.mistral.ai",
        key_vars: &["MISTRAL_API_KEY"],
        base_url_vars: &["MISTRAL_API_BASE", "MISTRAL_BASE_URL"],
        key_prefixes: &[],
        settings: &[],
        local: false,
        source: "PyPI mistralai, mistralai/client/sdkconfiguration.py",
        dialect: &mistral::Mistral,
    },
];

fn table() -> &'static [Host] {
    static HOSTS: OnceLock<Vec<Host>> = OnceLock::new();
    HOSTS.get_or_init(|| ROWS.iter().map(Row::host).collect())
}

impl Row {
    fn host(&self) -> Host {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Host {
            name: Str::from_static(self.name),
            aliases: self.aliases.iter().map(|&alias| Str::from_static(alias)).collect(),
            base_url: self.base_url.to_owned(),
            key_vars: owned(self.key_vars),
            base_url_vars: owned(self.base_url_vars),
            key_prefixes: owned(self.key_prefixes),
            quirks: Quirks::default(),
            local: self.local,
            source: self.source.to_owned(),
        }
    }
}

/// Every provider of this table.
pub(super) fn hosts() -> &'static [Host] {
    table()
}

pub(super) fn dialect(name: &str) -> Option<&'static dyn Provider> {
    row(name).map(|row| row.dialect)
}

/// The settings that a provider knows, with their variables.
pub(super) fn settings(name: &str) -> &'static [Setting] {
    row(name).map_or(&[], |row| row.settings)
}

fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name || row.aliases.contains(&name))
}
