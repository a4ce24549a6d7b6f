// The evaluator of the LaunchDarkly server SDK for Go, by the protocol of bench_evaluate (bench/evaluate.cc).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	evaluation "github.com/launchdarkly/go-server-sdk-evaluation/v3"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
)

const evaluationsAtOnce = 4096

type store struct {
	flags    map[string]*ldmodel.FeatureFlag
	segments map[string]*ldmodel.Segment
}

func (s *store) GetFeatureFlag(key string) *ldmodel.FeatureFlag { return s.flags[key] }
func (s *store) GetSegment(key string) *ldmodel.Segment         { return s.segments[key] }

type workload struct {
	evaluator evaluation.Evaluator
	flags     []*ldmodel.FeatureFlag
	texts     [][]byte
	contexts  []ldcontext.Context
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(data, contexts string) *workload {
	text, err := os.ReadFile(data)
	must(err)
	var document struct {
		Flags    map[string]ldmodel.FeatureFlag
		Segments map[string]ldmodel.Segment
	}
	must(json.Unmarshal(text, &document))
	known := &store{map[string]*ldmodel.FeatureFlag{}, map[string]*ldmodel.Segment{}}
	made := &workload{evaluator: evaluation.NewEvaluator(known)}
	for key := range document.Flags {
		flag := document.Flags[key]
		known.flags[key] = &flag
		made.flags = append(made.flags, &flag)
	}
	for key := range document.Segments {
		segment := document.Segments[key]
		known.segments[key] = &segment
	}
	lines, err := os.ReadFile(contexts)
	must(err)
	for _, line := range strings.Split(string(lines), "\n") {
		if line == "" {
			continue
		}
		var context ldcontext.Context
		must(json.Unmarshal([]byte(line), &context))
		made.texts = append(made.texts, []byte(line))
		made.contexts = append(made.contexts, context)
	}
	return made
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)*1e-6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func (w *workload) timed(readsJSON bool, seconds float64) string {
	began, end := cpuSeconds(), time.Now().Add(time.Duration(seconds*1e9))
	evaluations, next, sum := 0, 0, 0
	for time.Now().Before(end) {
		for enough := evaluations + evaluationsAtOnce; evaluations < enough; {
			context := w.contexts[next]
			if readsJSON {
				must(json.Unmarshal(w.texts[next], &context))
			}
			for _, flag := range w.flags {
				sum += w.evaluator.Evaluate(flag, context, nil).Detail.VariationIndex.OrElse(7)
			}
			evaluations += len(w.flags)
			next = (next + 1) % len(w.contexts)
		}
	}
	return fmt.Sprintf(`{"evaluations":%d,"cpu_seconds":%g,"sum":%d}`, evaluations, cpuSeconds()-began, sum)
}

func (w *workload) check() string {
	counts := map[string]int{}
	for _, context := range w.contexts {
		for _, flag := range w.flags {
			variation := w.evaluator.Evaluate(flag, context, nil).Detail.VariationIndex.OrElse(-1)
			counts[fmt.Sprintf("%s %d", flag.Key, variation)]++
		}
	}
	text, err := json.Marshal(counts)
	must(err)
	return string(text)
}

func main() {
	workload := read(os.Args[1], os.Args[2])
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what string
		var seconds float64
		fmt.Sscan(lines.Text(), &what, &seconds)
		if what == "check" {
			fmt.Println(workload.check())
		} else {
			fmt.Println(workload.timed(what == "json", seconds))
		}
	}
}
