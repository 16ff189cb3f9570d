#include "base/json_object.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/choice.h"

namespace peerage {
namespace {

using nlohmann::json;

TEST(JsonObjectTest, NamesTheKeyThatIsWrongByItsPath) {
  const json value = {{"width", -1}, {"name", 3}, {"on", "yes"}, {"base", 0}};
  JsonObject object(value, "layers[2].ffn");
  EXPECT_EQ(object.Int("width", {1, 9}).status(),
            absl::InvalidArgumentError("layers[2].ffn.width is -1, not within 1..9"));
  EXPECT_EQ(object.Int("depth", {1, 9}).status(),
            absl::InvalidArgumentError("layers[2].ffn.depth is missing"));
  EXPECT_EQ(object.String("name").status(),
            absl::InvalidArgumentError("layers[2].ffn.name is not a string"));
  EXPECT_EQ(object.Bool("on", false).status(),
            absl::InvalidArgumentError("layers[2].ffn.on is neither true nor false"));
  EXPECT_EQ(object.Number("base", {1e3}, 1).status(),
            absl::InvalidArgumentError("layers[2].ffn.base is 0, not above 0 and at most 1000"));
}

TEST(JsonObjectTest, TakesNullForAbsent) {
  const json value = {{"width", nullptr}};
  JsonObject object(value, "");
  EXPECT_EQ(object.Find("width"), nullptr);
  EXPECT_EQ(*object.Int("width", {1, 9}, 4), 4);
  EXPECT_EQ(*object.Optional<uint32_t>("width", 5), 5u);
}

TEST(JsonObjectTest, ReadsOptionalKeysOfOneType) {
  const json value = {{"on", true}, {"id", 7u}, {"text", "x"}};
  JsonObject object(value, "token");
  EXPECT_EQ(*object.Optional("on", false), true);
  EXPECT_EQ(*object.Optional<uint32_t>("id", 0), 7u);
  EXPECT_EQ(*object.Optional("text", std::string()), "x");
  EXPECT_EQ(*object.Optional("other", std::string("y")), "y");
  EXPECT_EQ(object.Optional("id", false).status(),
            absl::InvalidArgumentError("\"id\" has the wrong type"));
}

TEST(JsonObjectTest, OptionalNumbersHaveThirtyTwoBits) {
  for (const json& id : {json(-1), json(1.5), json(uint64_t{1} << 32), json("1")}) {
    const json value = {{"id", id}};
    EXPECT_FALSE(JsonObject(value, "").Optional<uint32_t>("id", 0).ok()) << id;
  }
}

TEST(JsonObjectTest, RefusesKeysThatNobodyKnows) {
  const json value = {{"a", 1}, {"b\n", 2}};
  JsonObject object(value, "model");
  EXPECT_EQ(object.CheckKeys({"a", "b\n"}), absl::OkStatus());
  EXPECT_EQ(object.CheckKeys({"a"}),
            absl::UnimplementedError("model.b\\n is not supported (a is)"));
  EXPECT_TRUE(object.Int("a", {0, 9}).ok());
  EXPECT_EQ(object.RefuseUnreadKeys(), absl::InvalidArgumentError("model.b\\n is not a known key"));
}

TEST(JsonObjectTest, IsTheObjectOfAFile) {
  EXPECT_TRUE(ObjectOfFile("a.json", json::object()).ok());
  EXPECT_EQ(ObjectOfFile("a.json", json::array()).status(),
            absl::InvalidArgumentError("a.json is not a JSON object"));
  EXPECT_EQ(ObjectOfFile("a.json", absl::InvalidArgumentError("cut off")).status(),
            absl::InvalidArgumentError("a.json: cut off"));
}

enum class Colour { kRed, kGreen };
constexpr Choice<Colour> kColours[] = {{"red", Colour::kRed}, {"green", Colour::kGreen}};

TEST(ChoiceTest, FindsValuesAndNames) {
  EXPECT_EQ(FindChoice(kColours, "green"), Colour::kGreen);
  EXPECT_EQ(FindChoice(kColours, "blue"), std::nullopt);
  EXPECT_EQ(ChoiceName(kColours, Colour::kGreen), "green");
  const json value = {{"good", "red"}, {"bad", "blue"}};
  JsonObject object(value, "");
  EXPECT_EQ(*ParseChoice(object, "good", kColours), Colour::kRed);
  EXPECT_EQ(*ParseChoice(object, "absent", kColours, {Colour::kGreen}), Colour::kGreen);
  EXPECT_EQ(ParseChoice(object, "bad", kColours).status(),
            absl::InvalidArgumentError("bad is \"blue\", not red or green"));
}

}  // namespace
}  // namespace peerage
