// The lake's test program is also the processes that its tests start: a stage that dies at a crash
// point, and the child that answers a query.
#include <string_view>

#include <gtest/gtest.h>

#include "lake/sql_query.h"
#include "lake/stage_child_test.h"

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == flagstream::lake::kStageChild) {
    return flagstream::lake::run_stage_child(argv[2], argv[3]);
  }
  if (argc == 2 && argv[1] == flagstream::lake::kSqlChild) return flagstream::lake::run_sql_child();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
