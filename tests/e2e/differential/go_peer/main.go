// Evaluates by the evaluator of the official Go SDK.  The same protocol as node_peer.mjs.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldreason"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	evaluation "github.com/launchdarkly/go-server-sdk-evaluation/v3"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
)

type store struct {
	Flags    map[string]ldmodel.FeatureFlag `json:"flags"`
	Segments map[string]ldmodel.Segment     `json:"segments"`
}

func (s *store) GetFeatureFlag(key string) *ldmodel.FeatureFlag {
	if flag, ok := s.Flags[key]; ok && !flag.Deleted {
		return &flag
	}
	return nil
}

func (s *store) GetSegment(key string) *ldmodel.Segment {
	if segment, ok := s.Segments[key]; ok && !segment.Deleted {
		return &segment
	}
	return nil
}

type job struct{ Data, Pairs, Answers string }

type pair struct {
	Flag    string          `json:"flag"`
	Context json.RawMessage `json:"context"`
}

type answer struct {
	Value     ldvalue.Value             `json:"value"`
	Variation ldvalue.OptionalInt       `json:"variationIndex"`
	Reason    ldreason.EvaluationReason `json:"reason"`
}

func evaluate(data *store, evaluator evaluation.Evaluator, asked pair) answer {
	var context ldcontext.Context
	detail := ldreason.NewEvaluationDetailForError(ldreason.EvalErrorUserNotSpecified, ldvalue.Null())
	if json.Unmarshal(asked.Context, &context) == nil {
		if flag := data.GetFeatureFlag(asked.Flag); flag == nil {
			detail = ldreason.NewEvaluationDetailForError(ldreason.EvalErrorFlagNotFound, ldvalue.Null())
		} else {
			detail = evaluator.Evaluate(flag, context, nil).Detail
		}
	}
	return answer{detail.Value, detail.VariationIndex, detail.Reason}
}

func run(asked job) error {
	text, err := os.ReadFile(asked.Data)
	if err != nil {
		return err
	}
	var data store
	if err := json.Unmarshal(text, &data); err != nil {
		return err
	}
	evaluator := evaluation.NewEvaluator(&data)
	in, err := os.Open(asked.Pairs)
	if err != nil {
		return err
	}
	defer in.Close()
	file, err := os.Create(asked.Answers)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	pairs := json.NewDecoder(bufio.NewReader(in))
	answers := json.NewEncoder(out)
	for pairs.More() {
		var next pair
		if err := pairs.Decode(&next); err != nil {
			return err
		}
		if err := answers.Encode(evaluate(&data, evaluator, next)); err != nil {
			return err
		}
	}
	return out.Flush()
}

func main() {
	jobs := json.NewDecoder(os.Stdin)
	for jobs.More() {
		var next job
		err := jobs.Decode(&next)
		if err == nil {
			err = run(next)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("done")
	}
}
