#include "model/transform/convert/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/stored_weights.h"
#include "model/checkpoint/layout/stored_values.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::string FloatBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// A tensor as it was read back.
struct Found {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

std::map<std::string, Found> ReadBack(const std::string& path) {
  const auto shards = OpenWeightFile(path);
  EXPECT_TRUE(shards.ok()) << shards.status();
  std::map<std::string, Found> found;
  for (const StoredTensor& tensor : shards->tensors) {
    std::string bytes(tensor.bytes, '\0');
    EXPECT_TRUE(shards->files[0]
                    ->Read(tensor.offset,
                           absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()))
                    .ok());
    found[tensor.name] = {tensor.dtype, tensor.shape, bytes};
  }
  return found;
}

class ConvertTest : public ::testing::Test {
 protected:
  ConvertTest() {
    SafetensorsBuilder builder;
    builder.Add("blocks.0.keys", "F32", {2, 2}, FloatBytes({1, -2, 0.5f, 3}))
        .Add("blocks.1.keys", "BF16", {2}, "\x80\x3f\x00\x40"s)
        .Add("blocks.1.steps", "I64", {}, std::string("\5\0\0\0\0\0\0\0", 8))
        .Add("empty", "F32", {0, 3}, "");
    input_ = directory_.Write("input.safetensors", builder.Build());
    options_.from = input_;
    options_.out = directory_.PathOf("out/new");
  }

  void Rename(const char* text) { options_.names = *NameMapping::Parse(text); }

  ConvertReport Converted() const {
    const auto report = Convert(options_);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : ConvertReport();
  }

  std::string ErrorText() const { return std::string(Convert(options_).status().message()); }
  std::string output() const { return options_.out + "/model.safetensors"; }

  const TemporaryDirectory directory_;
  std::string input_;
  ConvertOptions options_;
};

TEST_F(ConvertTest, KeepsNamesAndBytesUnlessToldOtherwise) {
  const ConvertReport report = Converted();

  auto found = ReadBack(output());
  EXPECT_EQ(report.tensors, 4u);
  EXPECT_EQ(report.bytes, 16u + 4 + 8);
  EXPECT_THAT(report.unmatched, IsEmpty());
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found["blocks.0.keys"].bytes, FloatBytes({1, -2, 0.5f, 3}));
  EXPECT_THAT(found["blocks.0.keys"].shape, ElementsAre(2, 2));
  EXPECT_EQ(found["blocks.1.keys"].dtype, "BF16");
  EXPECT_EQ(found["blocks.1.steps"].dtype, "I64");
  EXPECT_THAT(found["empty"].shape, ElementsAre(0, 3));
}

TEST_F(ConvertTest, RenamesAndReportsWhatMatchedNothing) {
  Rename("blocks.*.keys -> layers.*.peer.keys\nunused.** -> x.**\nempty -> void");

  const ConvertReport report = Converted();

  auto found = ReadBack(output());
  EXPECT_EQ(found.count("layers.0.peer.keys"), 1u);
  EXPECT_EQ(found["layers.1.peer.keys"].bytes, "\x80\x3f\x00\x40"s);
  EXPECT_EQ(found.count("blocks.1.steps"), 1u);
  EXPECT_EQ(found.count("void"), 1u);
  EXPECT_THAT(report.unused_patterns, ElementsAre("unused.** -> x.**"));
  EXPECT_THAT(report.unmatched, ElementsAre("blocks.1.steps"));
}

TEST_F(ConvertTest, DropsWhatMatchesNoPatternWhenTold) {
  Rename("blocks.*.keys -> layers.*.keys");
  options_.drop_unmatched = true;

  const ConvertReport report = Converted();

  EXPECT_EQ(ReadBack(output()).size(), 2u);
  EXPECT_EQ(report.tensors, 2u);
  EXPECT_THAT(report.unmatched, ElementsAre("blocks.1.steps", "empty"));
}

TEST_F(ConvertTest, ConvertsWeightsAndLeavesCounters) {
  options_.dtype = TensorType::kF16;

  Converted();

  auto found = ReadBack(output());
  EXPECT_EQ(found["blocks.0.keys"].dtype, "F16");
  EXPECT_EQ(found["blocks.0.keys"].bytes, "\x00\x3c\x00\xc0\x00\x38\x00\x42"s);
  EXPECT_EQ(found["blocks.1.keys"].bytes, "\x00\x3c\x00\x40"s);
  EXPECT_EQ(found["blocks.1.steps"].dtype, "I64");
}

TEST_F(ConvertTest, StreamsTensorsOfManyPieces) {
  std::vector<float> values((2 << 22) + 17);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 251);
  const int64_t count = static_cast<int64_t>(values.size());
  options_.from =
      directory_.Write("large.safetensors",
                       SafetensorsBuilder().Add("t", "F32", {count}, FloatBytes(values)).Build());
  options_.dtype = TensorType::kBF16;

  Converted();

  const std::string bytes = ReadBack(output())["t"].bytes;
  EXPECT_EQ(FloatsOf(TensorType::kBF16,
                     absl::MakeSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())),
            values);
}

TEST_F(ConvertTest, RefusesValuesBeyondTheNewRange) {
  options_.from = directory_.Write(
      "large.safetensors", SafetensorsBuilder().Add("t", "F32", {1}, FloatBytes({7e4f})).Build());
  options_.dtype = TensorType::kF16;

  EXPECT_EQ(
      ErrorText(),
      options_.from + ": tensor \"t\": a value of magnitude 70000 is beyond the range of f16");
  EXPECT_FALSE(std::filesystem::exists(directory_.PathOf("out")));

  options_.dtype = TensorType::kBF16;
  EXPECT_TRUE(Convert(options_).ok());
}

TEST_F(ConvertTest, RefusesTwoTensorsOfOneName) {
  Rename("blocks.0.keys -> same\nblocks.1.keys -> same");

  EXPECT_EQ(ErrorText(), input_ +
                             ": tensors \"blocks.0.keys\" and \"blocks.1.keys\" would both be "
                             "named \"same\"");
  EXPECT_FALSE(std::filesystem::exists(output()));

  Rename("blocks.0.keys -> empty");
  EXPECT_THAT(ErrorText(), HasSubstr("would both be named \"empty\""));
}

TEST_F(ConvertTest, RefusesNamesThatAreNone) {
  for (const std::string& name : {"__metadata__"s, "caf\xE9"s, std::string(513, 'n')}) {
    Rename(("empty -> " + name).c_str());
    EXPECT_THAT(ErrorText(), HasSubstr("is no name for a tensor"));
    EXPECT_FALSE(std::filesystem::exists(options_.out));
  }
}

// It is one by its bytes, whatever its name.
TEST_F(ConvertTest, LeavesGgufToTheConversionOfModels) {
  GgufBuilder gguf = SmallGgufKeys();
  options_.from = directory_.Write("sha256-0123", AddSmallGgufTensors(gguf).Build());
  EXPECT_THAT(ErrorText(), HasSubstr("is a GGUF file"));
}

TEST_F(ConvertTest, NeverOverwritesAModel) {
  Converted();

  EXPECT_THAT(ErrorText(),
              StartsWith(options_.out + ": a model that convert wrote is there already; --force"));
}

TEST_F(ConvertTest, CopiesWhatElseADirectoryHolds) {
  const std::string model = directory_.PathOf("model");
  std::filesystem::create_directory(model);
  std::filesystem::rename(input_, model + "/model.safetensors");
  std::ofstream(model + "/config.json") << "{}";
  std::ofstream(model + "/tokenizer.json") << "[1]";
  std::ofstream(model + "/README.md") << "no";
  options_.from = model;

  EXPECT_THAT(Converted().copied_files, ElementsAre("config.json", "tokenizer.json"));

  std::ifstream copy(options_.out + "/tokenizer.json");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(copy), {}), "[1]");
  EXPECT_FALSE(std::filesystem::exists(options_.out + "/README.md"));
}

TEST_F(ConvertTest, ChangesTheDtypeThatTheConfigNamesAndNothingElseOfIt) {
  const std::string model = directory_.PathOf("model");
  std::filesystem::create_directory(model);
  std::filesystem::rename(input_, model + "/model.safetensors");
  options_.from = model;
  options_.dtype = TensorType::kF32;
  const struct {
    std::string before;
    std::string after;
  } cases[] = {
      {R"({"z": 1e-05, "torch_dtype": "bfloat16", "dtype": "float16", "a": [10000.0]})",
       "{\n  \"z\": 1e-05,\n  \"torch_dtype\": \"float32\",\n  \"dtype\": \"float32\",\n"
       "  \"a\": [\n    10000.0\n  ]\n}\n"},
      {R"({"torch_dtype":"float32"})", R"({"torch_dtype":"float32"})"},
      {R"({"z":1})", R"({"z":1})"},
  };
  for (const auto& test : cases) {
    std::ofstream(model + "/config.json") << test.before;
    options_.out += "x";
    Converted();
    EXPECT_EQ(*ReadTextFile(options_.out + "/config.json", 1 << 20), test.after);
  }
  std::ofstream(model + "/config.json") << "{";
  options_.out += "x";
  EXPECT_THAT(ErrorText(), StartsWith(model + "/config.json: "));
  options_.dtype.reset();
  Converted();
  EXPECT_EQ(*ReadTextFile(options_.out + "/config.json", 1 << 20), "{");
}

TEST_F(ConvertTest, WritesNothingBesideAnotherModelsFiles) {
  std::filesystem::create_directories(options_.out);
  const std::string other = directory_.Write("out/new/chat_template.jinja", "other");

  EXPECT_THAT(ErrorText(), StartsWith(other + ": is there already"));
  EXPECT_FALSE(std::filesystem::exists(output()));
}

TEST_F(ConvertTest, NamesTheInputItCannotRead) {
  options_.from = directory_.PathOf("none.safetensors");
  EXPECT_THAT(ErrorText(), HasSubstr("none.safetensors"));

  options_.from = directory_.Write("broken.safetensors", "x");
  EXPECT_THAT(ErrorText(), AllOf(HasSubstr("broken.safetensors"), HasSubstr("shorter than")));
}

std::string FileBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The files of tests/golden/make_torch_files.py.
// All but "f64", which holds what no float does.
constexpr char kAllButDoubles[] =
    "*_* -> *_*\n**.** -> **.**\nsteps -> steps\ncorner -> corner\nempty -> empty\nf32 -> f32\n"
    "parameter -> parameter\nrepeated -> repeated\nrows -> rows\ntransposed -> transposed\n"
    "whole -> whole\nbf16 -> bf16\nswapped -> swapped\nf16 -> f16\nmask -> mask\n";

TEST_F(ConvertTest, WritesFromPytorchWhatItWritesFromTheSameTensorsInSafetensors) {
  for (const auto& [pytorch, tensors] :
       {std::pair("tensors", "tensors"), std::pair("big_endian", "tensors"),
        std::pair("training", "training")}) {
    const std::string folder = "tests/golden/torch/";
    options_ = {.from = folder + tensors + ".safetensors", .out = directory_.PathOf("expected")};
    Rename(kAllButDoubles);
    options_.drop_unmatched = true;
    Converted();
    const std::string expected = FileBytes(output());
    options_ = {.from = folder + pytorch + ".pt", .out = directory_.PathOf("converted")};
    Rename(kAllButDoubles);
    options_.drop_unmatched = true;
    Converted();

    EXPECT_EQ(FileBytes(output()), expected) << pytorch;
    std::filesystem::remove_all(directory_.PathOf("expected"));
    std::filesystem::remove_all(directory_.PathOf("converted"));
  }
}

TEST_F(ConvertTest, WritesTiedTensorsOnceUnderTheirFirstNewName) {
  options_.from = "tests/golden/torch/tensors.pt";
  Rename("embed.* -> model.embed_tokens.*\nhead.* -> lm_head.*\ntransposed_again -> again");
  options_.drop_unmatched = true;

  const ConvertReport report = Converted();

  auto found = ReadBack(output());
  EXPECT_EQ(found.size(), 2u);
  EXPECT_EQ(found["model.embed_tokens.weight"].bytes, FloatBytes({0.5f, -1.25f, 3, 1e-3f}));
  EXPECT_EQ(found.count("again"), 1u);  // the first name of this one was dropped
  ASSERT_EQ(report.tied.size(), 1u);
  EXPECT_EQ(report.tied[0].name, "lm_head.weight");
  EXPECT_EQ(report.tied[0].written, "model.embed_tokens.weight");
}

TEST_F(ConvertTest, TakesTheDictOfAPytorchFileThatTheKeyNames) {
  options_.from = "tests/golden/torch/training.pt";
  options_.key = "averaged";

  const ConvertReport report = Converted();

  EXPECT_EQ(ReadBack(output())["head.bias"].dtype, "F16");
  ASSERT_TRUE(report.choice.has_value());
  EXPECT_EQ(report.choice->chosen.key, "averaged");
}

TEST_F(ConvertTest, RefusesAKeyForAFileWithoutDicts) {
  options_.key = "model";
  EXPECT_THAT(ErrorText(), AllOf(HasSubstr(input_), HasSubstr("no dicts to choose by key")));
}

}  // namespace
}  // namespace peerage::transform
