#include "base/error_text.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

namespace peerage {
namespace {

TEST(AtTest, PutsThePlaceInFrontOnce) {
  const absl::Status error = At("a.gguf", absl::NotFoundError("no tensors"));
  EXPECT_EQ(error, absl::NotFoundError("a.gguf: no tensors"));
  EXPECT_EQ(At("a.gguf", error), error);
  EXPECT_EQ(At("config.json", At("layers[1]", absl::NotFoundError("is missing"))),
            absl::NotFoundError("config.json: layers[1]: is missing"));
  EXPECT_TRUE(At("a.gguf", absl::OkStatus()).ok());
}

TEST(AtTest, PassesValuesOn) {
  absl::StatusOr<std::unique_ptr<int>> value = std::make_unique<int>(7);
  value = At("place", std::move(value));
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(**value, 7);
  const absl::StatusOr<int> error = At("place", absl::StatusOr<int>(absl::InternalError("x")));
  EXPECT_EQ(error.status(), absl::InternalError("place: x"));
}

TEST(QuotedTest, FitsOneLine) {
  EXPECT_EQ(Quoted("a\n\"b\""), R"("a\n\"b\"")");
  EXPECT_EQ(Quoted(std::string(200, 'x')), "\"" + std::string(128, 'x') + "...\"");
}

}  // namespace
}  // namespace peerage
