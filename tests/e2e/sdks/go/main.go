// The Go server SDK behind the protocol of ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldlog"
	"github.com/launchdarkly/go-sdk-common/v3/ldreason"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/interfaces"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
)

// How long to wait for the SDK to start, and for its last events to go out.
var patience = 20 * time.Second

type command struct {
	Command string            `json:"command"`
	Flag    string            `json:"flag"`
	Context ldcontext.Context `json:"context"`
	Key     string            `json:"key"`
	Value   float64           `json:"value"`
	Data    ldvalue.Value     `json:"data"`
}

type event struct {
	Event          string                     `json:"event"`
	Key            string                     `json:"key,omitempty"`
	Message        string                     `json:"message,omitempty"`
	Value          ldvalue.Value              `json:"value"`
	VariationIndex ldvalue.OptionalInt        `json:"variationIndex"`
	Reason         *ldreason.EvaluationReason `json:"reason,omitempty"`
}

var output sync.Mutex

func say(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func config() ld.Config {
	url := os.Getenv("FLAGSTREAM_URL")
	config := ld.Config{
		ServiceEndpoints: ldcomponents.RelayProxyEndpoints(url),
		ApplicationInfo:  interfaces.ApplicationInfo{ApplicationID: os.Getenv("FLAGSTREAM_APPLICATION")},
		Events:           ldcomponents.SendEvents().FlushInterval(time.Second),
		Logging:          ldcomponents.Logging().MinLevel(ldlog.Error),
	}
	switch os.Getenv("FLAGSTREAM_MODE") {
	case "polling":
		config.DataSource = ldcomponents.PollingDataSource()
	case "fdv2":
		config.DataSystem = ldcomponents.DataSystem().WithRelayProxyEndpoints(url).Default()
	default:
		config.DataSource = ldcomponents.StreamingDataSource()
	}
	return config
}

func do(client *ld.LDClient, c command) error {
	switch c.Command {
	case "evaluate":
		_, detail, _ := client.JSONVariationDetail(c.Flag, c.Context, ldvalue.Null())
		say(event{Event: "evaluation", Value: detail.Value, VariationIndex: detail.VariationIndex, Reason: &detail.Reason})
		return nil
	case "track":
		return client.TrackMetric(c.Key, c.Context, c.Value, c.Data)
	case "identify":
		return client.Identify(c.Context)
	case "flush":
		client.FlushAndWait(patience)
		return nil
	}
	return fmt.Errorf("unknown command %q", c.Command)
}

func main() {
	if seconds, err := strconv.Atoi(os.Getenv("FLAGSTREAM_PATIENCE")); err == nil {
		patience = time.Duration(seconds) * time.Second
	}
	client, err := ld.MakeCustomClient(os.Getenv("FLAGSTREAM_SDK_KEY"), config(), patience)
	if err == nil {
		say(event{Event: "ready"})
	} else {
		say(event{Event: "failed", Message: err.Error()})
	}
	changes := client.GetFlagTracker().AddFlagChangeListener()
	go func() {
		for change := range changes {
			say(event{Event: "update", Key: change.Key})
		}
	}()
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var c command
		err := json.Unmarshal(input.Bytes(), &c)
		if err == nil {
			err = do(client, c)
		}
		if err != nil {
			say(event{Event: "error", Message: err.Error()})
		} else if c.Command != "evaluate" {
			say(event{Event: "done"})
		}
	}
	client.FlushAndWait(patience)
	client.Close()
}
