#include "app/evaluate.h"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <unistd.h>

namespace flagstream::app {
namespace {

constexpr std::string_view kFlags =
    R"({"flags":{"f":{"on":true,"variations":[1.0,2],"fallthrough":{"variation":0}}}})";
constexpr std::string_view kServed =
    "{\"value\":1.0,\"variationIndex\":0,\"reason\":{\"kind\":\"FALLTHROUGH\"}}\n";
constexpr std::string_view kNoUser =
    "{\"value\":null,\"variationIndex\":null,\"reason\":{\"kind\":\"ERROR\",\"errorKind\":"
    "\"USER_NOT_SPECIFIED\"}}\n";

class Evaluate : public testing::Test {
 protected:
  Evaluate() { std::ofstream(file_) << kFlags; }
  ~Evaluate() override { std::remove(file_.c_str()); }

  int batch(const std::string& lines, const std::string& data_file = "") {
    std::istringstream in(lines);
    return evaluate_batch(data_file, in, out_, err_);
  }

  std::string file_ = testing::TempDir() + "evaluate_" + std::to_string(::getpid()) + ".json";
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(Evaluate, PrintsTheAnswer) {
  EXPECT_EQ(evaluate({file_, "f", R"({"key":"k"})"}, out_, err_), 0);
  EXPECT_EQ(out_.str(), kServed);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(Evaluate, TellsWhyAContextIsInvalid) {
  EXPECT_EQ(evaluate({file_, "f", R"({"kind":"user"})"}, out_, err_), 0);
  EXPECT_EQ(out_.str(), kNoUser);
  EXPECT_EQ(err_.str(),
            "flagstream: invalid context: the key of the user is not a string with characters\n");
}

TEST_F(Evaluate, RefusesWhatIsNotJson) {
  EXPECT_EQ(evaluate({file_, "f", "{"}, out_, err_), 1);
  EXPECT_EQ(err_.str(), "flagstream: --context: not JSON: a member's name expected at byte 1\n");
  EXPECT_EQ(evaluate({file_ + ".none", "f", "{}"}, out_, err_), 3);
  std::ofstream(file_) << "[";
  EXPECT_EQ(evaluate({file_, "f", "{}"}, out_, err_), 1);
  EXPECT_EQ(out_.str(), "");
}

std::string line(std::string_view flag, std::string_view context) {
  return std::string(kFlags.substr(0, kFlags.size() - 1))
      .append(R"(,"flag":")")
      .append(flag)
      .append(R"(","context":)")
      .append(context)
      .append("}\n");
}

TEST_F(Evaluate, BatchAnswersInOrder) {
  EXPECT_EQ(batch(line("f", R"({"key":"k"})") + line("f", "null") + line("f", R"({"key":"k"})")),
            0);
  EXPECT_EQ(out_.str(), std::string(kServed).append(kNoUser).append(kServed));
}

TEST_F(Evaluate, BatchGoesOnAfterBadLines) {
  std::string last = line("f", R"({"key":"k"})");
  last.pop_back();
  EXPECT_EQ(batch("nonsense\n\n[]\n{}\n{\"flag\":\"f\"}\n{\"flag\":1,\"context\":{}}\n"
                  "{\"flag\":\"f\",\"context\":{},\"flags\":7}\n" +
                  last),
            1);
  EXPECT_EQ(out_.str(), std::string("{\"error\":\"not JSON: a value expected at byte 0\"}\n"
                                    "{\"error\":\"not JSON: a value expected at byte 0\"}\n"
                                    "{\"error\":\"the line is not a JSON object\"}\n"
                                    "{\"error\":\"flag is not there, or not a string\"}\n"
                                    "{\"error\":\"context is not there\"}\n"
                                    "{\"error\":\"flag is not there, or not a string\"}\n"
                                    "{\"error\":\"flags is not an object\"}\n")
                            .append(kServed));
}

TEST_F(Evaluate, BatchRefusesALineOverTheLimitAndReadsTheNext) {
  EXPECT_EQ(batch(std::string(kBatchLineBytesMax + 1, ' ') + "\n" + line("f", R"({"key":"k"})")),
            1);
  EXPECT_EQ(out_.str(),
            std::string("{\"error\":\"the line is longer than 64 MiB\"}\n").append(kServed));
}

TEST_F(Evaluate, BatchTakesALineAtTheLimit) {
  std::string whole = line("f", R"({"key":"k"})");
  whole.insert(whole.size() - 2, kBatchLineBytesMax + 1 - whole.size(), ' ');
  EXPECT_EQ(batch(whole), 0);
  EXPECT_EQ(out_.str(), kServed);
}

TEST_F(Evaluate, BatchMayShareOneFile) {
  EXPECT_EQ(batch(R"({"flag":"f","context":{"key":"k"}})"
                  "\n"
                  R"({"flag":"f","context":{"key":"k"},"flags":{}})",
                  file_),
            0);
  EXPECT_EQ(out_.str(),
            std::string(kServed).append(
                "{\"value\":null,\"variationIndex\":null,\"reason\":{\"kind\":\"ERROR\","
                "\"errorKind\":\"FLAG_NOT_FOUND\"}}\n"));
}

TEST_F(Evaluate, BatchOfNothingIsDone) {
  EXPECT_EQ(batch(""), 0);
  EXPECT_EQ(out_.str(), "");
}

}  // namespace
}  // namespace flagstream::app
