// Package stackdriver stands in for the exporter of that name, which ld-relay links and no benchmark switches on.
package stackdriver

import (
	"errors"

	"go.opencensus.io/stats/view"
	"go.opencensus.io/trace"
)

// Options holds what ld-relay sets.
type Options struct {
	MetricPrefix string
	ProjectID    string
}

// Exporter cannot be made.
type Exporter struct{}

// NewExporter always fails.
func NewExporter(Options) (*Exporter, error) {
	return nil, errors.New("this build has no exporter to Stackdriver")
}

// ExportView drops its argument.
func (*Exporter) ExportView(*view.Data) {}

// ExportSpan drops its argument.
func (*Exporter) ExportSpan(*trace.SpanData) {}
