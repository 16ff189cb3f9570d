#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "client/commands/expert_control.h"
#include "tests/support/temporary_directory.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<std::optional<v1::ExpertControl>> ReadControl(const std::string& arguments) {
  CLI::App app;
  const ExpertControlOption option(app);
  app.parse(arguments);
  return option.Read();
}

TEST(ExpertControlOptionTest, ReadsAFileInWhichKindsAreWordsOrTheContractsNames) {
  const TemporaryDirectory directory;
  for (const char* kind : {"mixture_ffn", "EXPERT_LAYER_KIND_MIXTURE_FFN"}) {
    const std::string path = directory.Write(
        "control.json",
        absl::StrCat(R"({"layers": [{"layer": 3, "kind": ")", kind,
                     R"(", "masked_ids": [2, 5], "bias": {"7": -1.5}, "top_k": 1, )",
                     R"("forced": {"tokens": 1, "expert_ids": "AQAAAA=="}}]})"));
    const auto control = ReadControl("--expert-control " + path);
    ASSERT_TRUE(control.ok()) << control.status();
    ASSERT_EQ((*control)->layers_size(), 1);
    const v1::LayerControl& layer = (*control)->layers(0);
    EXPECT_EQ(layer.layer(), 3u);
    EXPECT_EQ(layer.kind(), v1::EXPERT_LAYER_KIND_MIXTURE_FFN);
    EXPECT_THAT(layer.masked_ids(), ElementsAre(2, 5));
    EXPECT_EQ(layer.bias().at(7), -1.5f);
    EXPECT_EQ(layer.top_k(), 1u);
    EXPECT_EQ(layer.forced().expert_ids(), std::string("\1\0\0\0", 4));
  }
  EXPECT_FALSE(ReadControl("")->has_value());
}

TEST(ExpertControlOptionTest, RefusesWhatIsNoControl) {
  const TemporaryDirectory directory;
  for (const auto& [text, said] : {std::pair("{", "is no JSON"),
                                   {"[1]", "is no ExpertControl: "},
                                   {R"({"layers": [{"kind": "ffn"}]})", "is no ExpertControl: "},
                                   {R"({"layers": [{"mask": [1]}]})", "mask"}}) {
    const auto control = ReadControl("--expert-control " + directory.Write("control.json", text));
    EXPECT_EQ(control.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(control.status().message()), HasSubstr(said));
  }
  EXPECT_FALSE(ReadControl("--expert-control " + directory.PathOf("missing")).ok());
}

}  // namespace
}  // namespace peerage::client
