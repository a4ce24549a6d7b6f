// Numbers of the columns of the `events` table, in the order of event_columns().
#pragma once

#include <cstddef>

namespace flagstream::lake {

enum EventColumn : std::size_t {
  kDate,
  kReceivedAt,
  kTime,
  kEnvironmentId,
  kProjectId,
  kProjectKey,
  kEnvironmentKey,
  kKind,
  kKey,
  kVariation,
  kVersion,
  kValue,
  kDefaultValue,
  kReason,
  kPrereqOf,
  kData,
  kMetricMicros,
  kMetricValue,
  kUrl,
  kSelector,
  kSamplingRatio,
  kContexts,
  kContext,
  kContextKinds,
  kCount,
  kUnknownFlag,
  kStartedAt,
  kInExperiment,
  kSdkName,
  kSdkVersion,
  kApplicationId,
  kApplicationVersion,
  kNoise,
  kRaw,
  kDroppedEvents,
  kGeneration,
  kPartition,
  kSourceLog,
  kSourceOffset,
  kSourceIndex,
  kSourcePart,
  kColumns,
};

}  // namespace flagstream::lake
