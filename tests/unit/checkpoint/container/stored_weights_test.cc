#include "model/checkpoint/container/stored_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/safetensors_builder.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kGgufModel[] = "tests/golden/models/llama_gguf_mixed/model.gguf";

class StoredWeightsTest : public ::testing::Test {
 protected:
  std::string Error(const std::string& name, const std::string& bytes) const {
    const std::string path = directory_.Write(name, bytes);
    const std::string error(OpenWeights(path).status().message());
    EXPECT_THAT(error, StartsWith(path + ": "));
    return error.substr(std::min(error.size(), path.size() + 2));
  }

  const TemporaryDirectory directory_;
};

TEST_F(StoredWeightsTest, OpensEveryFormatByItsBeginning) {
  const std::string safetensors = SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build();
  EXPECT_EQ(OpenWeights(directory_.Write("no_extension", safetensors))->format, "safetensors");
  EXPECT_EQ(OpenWeights("tests/golden/torch/tensors.pt")->format, "pytorch");
  EXPECT_EQ(OpenWeights(kGgufModel)->format, "gguf");
  EXPECT_EQ(OpenWeights(kGgufModel)->tensors.size(), 12u);
  EXPECT_TRUE(absl::IsNotFound(OpenWeights(directory_.PathOf("none.pt")).status()));
}

TEST_F(StoredWeightsTest, SaysWhatAFileIsThatIsNotWhatItsNameSays) {
  const std::string safetensors = SafetensorsBuilder().Add("x", "F32", {1}, "xxxx").Build();
  const std::pair<std::string, std::string> kOthers[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
       "is a Git LFS pointer, not the file itself (git lfs pull fetches it)"},
      {"", "is an empty file"},
      {"\n <!DOCTYPE html><html><body>404</body></html>", "is a web page"},
      {"<html>", "is a web page"},
      {"\x1f\x8b\x08\0\0\0\0\0\0\0"s, "is compressed (gunzip unpacks it)"},
      {"BZh91AY&SY", "bunzip2"},
      {"\xfd"
       "7zXZ\0\0\0\0"s,
       "unxz"},
      {"\x28\xb5\x2f\xfd\0\0\0\0\0"s, "unzstd"},
      {"\x89HDF\r\n\x1a\n\0\0"s, "is an HDF5 file"},
      {"\x93NUMPY\1\0v\0"s, "is a NumPy array"},
      {"{\"weight_map\": {}}", "is a JSON text"},
  };
  for (const char* name : {"w.safetensors", "w.gguf", "w.pt", "w.bin"}) {
    for (const auto& [bytes, error] : kOthers) EXPECT_THAT(Error(name, bytes), HasSubstr(error));
  }
  const std::string zip = "PK\5\6"s + std::string(18, '\0');
  EXPECT_THAT(Error("w.safetensors", zip), HasSubstr("is a zip archive"));
  EXPECT_THAT(Error("w.gguf", zip), HasSubstr("is a zip archive"));
  EXPECT_THAT(Error("w.pt", zip), HasSubstr("it has no data.pkl"));
  EXPECT_THAT(Error("w.safetensors", "\x80\2}."), HasSubstr("is a pickle"));
  EXPECT_THAT(Error("w.pt", "\x80\2}."), HasSubstr("this rewrites it: python3 -c"));
  EXPECT_THAT(Error("w.bin", safetensors), HasSubstr("is a safetensors file"));
  EXPECT_THAT(Error("w.gguf", safetensors), HasSubstr("is a safetensors file"));
  EXPECT_THAT(Error("w.safetensors", "GGUF" + std::string(40, '\0')), HasSubstr("is a GGUF file"));
}

TEST_F(StoredWeightsTest, LeavesWhatIsNothingKnownToTheReaderOfTheName) {
  EXPECT_THAT(Error("w.safetensors", "neither this nor that"), HasSubstr("header of"));
  EXPECT_THAT(Error("w.gguf", "neither this nor that"), HasSubstr("does not begin with GGUF"));
  EXPECT_THAT(Error("w.pt", "neither this nor that"), HasSubstr("is not a zip archive"));
}

TEST_F(StoredWeightsTest, RefusesAKeyForFilesWithoutDicts) {
  EXPECT_THAT(std::string(OpenWeights(kGgufModel, {.key = "model"}).status().message()),
              AllOf(HasSubstr(kGgufModel), HasSubstr("no dicts to choose by key")));
}

}  // namespace
}  // namespace peerage
