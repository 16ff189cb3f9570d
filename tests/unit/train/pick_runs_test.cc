#include "train/kernels/pick_runs.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace peerage::kernels {
namespace {

TEST(PickRunsTest, PicksOfARowLieSideBySideInOrder) {
  std::mt19937 random(3);
  for (const int64_t num_rows : {1, 2, 2047, 2048, 2049, 5000000}) {
    for (const int count : {0, 1, 2, 5000}) {
      SCOPED_TRACE(testing::Message() << num_rows << " rows, " << count << " picks");
      std::vector<int64_t> ids(count);
      std::map<int64_t, std::vector<uint32_t>> expected;
      for (int i = 0; i < count; ++i) {
        ids[i] = static_cast<int64_t>(random() % num_rows);
        if (i % 3 == 2) ids[i] = ids[i - 2];
        expected[ids[i]].push_back(static_cast<uint32_t>(i));
      }

      const PickRuns runs = SortPicks(ids, num_rows);

      ASSERT_EQ(runs.size(), static_cast<int64_t>(expected.size()));
      int64_t r = 0;
      for (const auto& [row, picks] : expected) {
        EXPECT_EQ(runs.rows[r], row);
        const auto found = runs.picks(r++);
        EXPECT_EQ(std::vector<uint32_t>(found.begin(), found.end()), picks);
      }
    }
  }
}

}  // namespace
}  // namespace peerage::kernels
