#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "telemetry/metrics.h"
#include "telemetry/tell.h"

namespace flagstream::telemetry {
namespace {

using ::testing::HasSubstr;

TEST(Tell, LineIsJsonWhateverTheTextHolds) {
  EXPECT_EQ(
      format_line(Level::Warn, "disk \"slow\"", {{"path", "a\\b\n"}, {"bytes", 7}, {"ok", false}}),
      R"("level":"warn","msg":"disk \"slow\"","path":"a\\b\n","bytes":7,"ok":false)");
}

// A role's readers and environments come and go while it serves.
TEST(Registry, IsScrapedWhileMetricsComeAndGo) {
  Registry registry;
  std::atomic<bool> is_done{false};
  std::thread owner([&] {
    for (int i = 0; i < 200'000; ++i) {
      const Gauge gauge(registry, {"flagstream_test_gauge", "A gauge.", ""});
      const Histogram histogram(registry, {"flagstream_test_seconds", "A histogram.", ""});
    }
    is_done.store(true);
  });
  while (!is_done.load()) EXPECT_FALSE(registry.scrape().empty());
  owner.join();
}

TEST(Registry, WritesEachFamilyOnceAndForgetsTheDead) {
  Registry registry;
  Counter a(registry, {"flagstream_x_total", "Things.", "kind=\"a\""});
  {
    Counter b(registry, {"flagstream_x_total", "Things.", "kind=\"b\""});
    b.add(2);
    EXPECT_THAT(registry.scrape(),
                HasSubstr("# HELP flagstream_x_total Things.\n# TYPE flagstream_x_total counter\n"
                          "flagstream_x_total{kind=\"a\"} 0\nflagstream_x_total{kind=\"b\"} 2\n"));
  }
  EXPECT_THAT(registry.scrape(), Not(HasSubstr("kind=\"b\"")));
  EXPECT_THAT(registry.scrape(), HasSubstr("process_resident_memory_bytes "));
}

TEST(Histogram, BucketsAreCumulative) {
  Registry registry;
  Histogram h(registry, {"flagstream_x_seconds", "Time.", ""});
  h.observe(0.002);
  h.observe(0.002);
  h.observe(1000);
  const std::string text = registry.scrape();
  EXPECT_THAT(text, HasSubstr("flagstream_x_seconds_bucket{le=\"0.001\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("flagstream_x_seconds_bucket{le=\"0.0025\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("flagstream_x_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("flagstream_x_seconds_count 3\n"));
}

}  // namespace
}  // namespace flagstream::telemetry
