//! What `LITERLLM_LOG` asks for, on stderr: a level (`info`), or levels by part (`literllm=debug,hyper=warn`).

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging if `LITERLLM_LOG` is set and nothing else logs yet. Says so if the variable cannot be read.
pub fn init() {
    let Ok(wanted) = std::env::var("LITERLLM_LOG") else { return };
    let filter = match wanted.parse::<tracing_subscriber::filter::LevelFilter>() {
        Ok(level) => Targets::new().with_target("literllm", level),
        Err(_) => match wanted.parse::<Targets>() {
            Ok(targets) => targets,
            Err(error) => {
                eprintln!("literllm: LITERLLM_LOG is neither a level nor a list of target=level: {error}");
                return;
            }
        },
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::CLOSE);
    // Another subscriber that was there first keeps its place.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}
