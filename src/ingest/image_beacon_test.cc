#include "ingest/image_beacon.h"

#include <gtest/gtest.h>

namespace flagstream::ingest {
namespace {

std::string events_in(std::string query) {
  http::Request request;
  request.query = std::move(query);
  const auto events = events_of_image(request);
  return events ? *events : "refused";
}

TEST(ImageBeacon, TakesBase64OfEitherAlphabetPaddedOrNot) {
  EXPECT_EQ(events_in("d=W10="), "[]");
  EXPECT_EQ(events_in("d=W10%3D"), "[]");
  EXPECT_EQ(events_in("t=1&d=W10"), "[]");
  EXPECT_EQ(events_in("d=WyJ+Pz8/Il0="), R"(["~???"])") << "a query makes '+' a blank";
  EXPECT_EQ(events_in("d=WyJ%2BPz8%2FIl0="), R"(["~???"])");
  EXPECT_EQ(events_in("d=WyJ-Pz8_Il0"), R"(["~???"])");
}

TEST(ImageBeacon, RefusesWhatIsNoBase64) {
  for (const char* query : {"", "d=", "d=W",
                            "d=W10=="
                            "=",
                            "d=W1*0", "d=W10%00", "d=W=10", "d=%C3%A9"})
    EXPECT_EQ(events_in(query), "refused") << query;
}

TEST(ImageBeacon, TheNameOfTheImageIsTheClientSideId) {
  EXPECT_EQ(environment_of_image("env123.gif"), "env123");
  EXPECT_EQ(environment_of_image("env.gif.gif"), "env.gif");
  EXPECT_EQ(environment_of_image("env123"), "");
  EXPECT_EQ(environment_of_image("env123.GIF"), "");
  EXPECT_EQ(environment_of_image(".gif"), "");
}

}  // namespace
}  // namespace flagstream::ingest
