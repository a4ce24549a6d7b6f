import com.launchdarkly.logging.LDLogLevel;
import com.launchdarkly.logging.Logs;
import com.launchdarkly.sdk.EvaluationDetail;
import com.launchdarkly.sdk.LDContext;
import com.launchdarkly.sdk.LDValue;
import com.launchdarkly.sdk.json.JsonSerialization;
import com.launchdarkly.sdk.server.Components;
import com.launchdarkly.sdk.server.LDClient;
import com.launchdarkly.sdk.server.LDConfig;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** The Java server SDK behind the protocol of ../README.md. */
public final class Driver {
  private static final Duration PATIENCE =
      Duration.ofSeconds(
          Integer.parseInt(System.getenv().getOrDefault("FLAGSTREAM_PATIENCE", "20")));
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  private static synchronized void say(String event, String name, LDValue value) {
    OUT.println(LDValue.buildObject().put("event", event).put(name, value).build().toJsonString());
  }

  private static LDConfig config() {
    String url = System.getenv("FLAGSTREAM_URL");
    LDConfig.Builder builder =
        new LDConfig.Builder()
            .serviceEndpoints(Components.serviceEndpoints().relayProxy(url))
            .applicationInfo(
                Components.applicationInfo().applicationId(System.getenv("FLAGSTREAM_APPLICATION")))
            .events(Components.sendEvents().flushInterval(Duration.ofSeconds(1)))
            .logging(Components.logging(Logs.toStream(System.err)).level(LDLogLevel.ERROR))
            .startWait(PATIENCE);
    switch (System.getenv("FLAGSTREAM_MODE")) {
      case "polling":
        return builder.dataSource(Components.pollingDataSource()).build();
      case "fdv2":
        return builder.dataSystem(Components.dataSystem().defaultMode()).build();
      default:
        return builder.dataSource(Components.streamingDataSource()).build();
    }
  }

  private static void evaluate(LDClient client, LDValue command, LDContext context) {
    EvaluationDetail<LDValue> detail =
        client.jsonValueVariationDetail(
            command.get("flag").stringValue(), context, LDValue.ofNull());
    LDValue index =
        detail.isDefaultValue() ? LDValue.ofNull() : LDValue.of(detail.getVariationIndex());
    String line =
        LDValue.buildObject()
            .put("event", "evaluation")
            .put("value", detail.getValue())
            .put("variationIndex", index)
            .put("reason", LDValue.parse(JsonSerialization.serialize(detail.getReason())))
            .build()
            .toJsonString();
    synchronized (Driver.class) {
      OUT.println(line);
    }
  }

  private static void run(LDClient client, LDValue command) throws Exception {
    LDContext context =
        command.get("context").isNull()
            ? null
            : JsonSerialization.deserialize(
                command.get("context").toJsonString(), LDContext.class);
    switch (command.get("command").stringValue()) {
      case "evaluate":
        evaluate(client, command, context);
        return;
      case "track":
        client.trackMetric(
            command.get("key").stringValue(),
            context,
            command.get("data"),
            command.get("value").doubleValue());
        break;
      case "identify":
        client.identify(context);
        break;
      case "flush":
        client.flush();
        break;
      default:
        throw new IllegalArgumentException("unknown command");
    }
    say("done", "command", command.get("command"));
  }

  public static void main(String[] arguments) throws Exception {
    LDClient client = new LDClient(System.getenv("FLAGSTREAM_SDK_KEY"), config());
    client.getFlagTracker().addFlagChangeListener(c -> say("update", "key", LDValue.of(c.getKey())));
    if (client.isInitialized()) {
      say("ready", "version", LDValue.of(client.version()));
    } else {
      say("failed", "message", LDValue.of(client.getDataSourceStatusProvider().getStatus().toString()));
    }
    BufferedReader input =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = input.readLine()) != null; ) {
      try {
        run(client, LDValue.parse(line));
      } catch (Exception error) {
        say("error", "message", LDValue.of(error.toString()));
      }
    }
    client.close();
  }
}
