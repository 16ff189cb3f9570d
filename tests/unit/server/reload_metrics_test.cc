#include "server/metrics/reload_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>

namespace peerage {
namespace {

TEST(ReloadMetricsTest, CountsFailuresByFilesFromZero) {
  ReloadMetrics metrics("m");
  EXPECT_TRUE(metrics.Collect().empty());
  metrics.Add("certificates");
  metrics.Add("tokens and policy");
  metrics.OnFailure("tokens and policy");
  metrics.OnFailure("tokens and policy");
  const auto families = metrics.Collect();
  ASSERT_EQ(families.size(), 1);
  ASSERT_EQ(families[0].metric.size(), 2);
  EXPECT_EQ(families[0].metric[0].label[1].value, "certificates");
  EXPECT_EQ(families[0].metric[0].counter.value, 0);
  EXPECT_EQ(families[0].metric[1].counter.value, 2);
}

}  // namespace
}  // namespace peerage
