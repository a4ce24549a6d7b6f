//! The Rust server SDK behind the protocol of ../README.md.  Plain HTTP only, so that no TLS library is compiled.
use std::env;
use std::io::BufRead;
use std::time::Duration;

use launchdarkly_sdk_transport::HyperTransport;
use launchdarkly_server_sdk::{
    ApplicationInfo, Client, Config, ConfigBuilder, Context, EventProcessorBuilder, PollingDataSourceBuilder,
    ServiceEndpointsBuilder, StreamingDataSourceBuilder,
};
use serde_json::{json, Value};


type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn config() -> Outcome<Config> {
    let transport = HyperTransport::new()?;
    let builder = ConfigBuilder::new(&env::var("FLAGSTREAM_SDK_KEY")?)
        .service_endpoints(ServiceEndpointsBuilder::new().relay_proxy(&env::var("FLAGSTREAM_URL")?))
        .application_info({
            let mut info = ApplicationInfo::new();
            info.application_identifier(env::var("FLAGSTREAM_APPLICATION")?);
            info
        })
        .event_processor(
            EventProcessorBuilder::new()
                .flush_interval(Duration::from_secs(1))
                .transport(transport.clone()),
        );
    let builder = match env::var("FLAGSTREAM_MODE")?.as_str() {
        "polling" => builder.data_source(PollingDataSourceBuilder::new().transport(transport)),
        _ => builder.data_source(StreamingDataSourceBuilder::new().transport(transport)),
    };
    Ok(builder.build()?)
}

async fn answer(client: &Client, line: &str) -> Outcome<Value> {
    let command: Value = serde_json::from_str(line)?;
    let text = |name: &str| command[name].as_str().unwrap_or_default().to_owned();
    let context = || serde_json::from_value::<Context>(command["context"].clone());
    match text("command").as_str() {
        "evaluate" => {
            let detail = client.json_variation_detail(&context()?, &text("flag"), Value::Null);
            return Ok(json!({"event": "evaluation", "value": detail.value, "variationIndex": detail.variation_index,
                             "reason": detail.reason}));
        }
        "track" => {
            let value = command["value"].as_f64().ok_or("value is not a number")?;
            client.track_metric(context()?, text("key"), value, &command["data"]);
        }
        "identify" => client.identify(context()?),
        "flush" => {
            client.flush_blocking(patience()).await;
        }
        other => return Err(format!("unknown command {other}").into()),
    }
    Ok(json!({"event": "done"}))
}

fn patience() -> Duration {
    Duration::from_secs(env::var("FLAGSTREAM_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(20))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let client = Client::build(config()?)?;
    client.start_with_default_executor();
    match client.wait_for_initialization(patience()).await {
        Some(true) => println!("{}", json!({"event": "ready"})),
        other => println!("{}", json!({"event": "failed", "message": format!("initialized: {other:?}")})),
    }
    for line in std::io::stdin().lock().lines() {
        match answer(&client, &line?).await {
            Ok(said) => println!("{said}"),
            Err(error) => println!("{}", json!({"event": "error", "message": error.to_string()})),
        }
    }
    client.flush_blocking(patience()).await;
    client.close();
    Ok(())
}
