// Files that PyTorch itself wrote: tests/golden/make_torch_files.py.
#include "model/checkpoint/container/pytorch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/memory_file.h"

namespace peerage {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

MemoryFile Fixture(const std::string& name) {
  std::ifstream file(absl::StrCat("tests/golden/torch/", name), std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return MemoryFile({std::istreambuf_iterator<char>(file), {}}, name);
}

// The bytes of a file, for tests that spoil them.
std::string BytesOf(const MemoryFile& file) {
  std::string bytes(file.size(), '\0');
  EXPECT_TRUE(
      file.Read(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size())).ok());
  return bytes;
}

// A file and what it holds.
class Opened {
 public:
  explicit Opened(const std::string& name, const std::string& key = "")
      : file_(Fixture(name)), contents_(ReadPytorch(file_, key)) {
    EXPECT_TRUE(contents_.ok()) << contents_.status();
    for (const StoredTensor& tensor : contents_->tensors) tensors_[tensor.name] = tensor;
  }

  const PytorchContents& contents() const { return *contents_; }
  const StoredTensor& tensor(const std::string& name) { return tensors_[name]; }

  template <typename T>
  std::vector<T> Values(const std::string& name) {
    const StoredTensor& tensor = tensors_[name];
    const RandomAccessFile& file = tensor.file == 0
                                       ? static_cast<const RandomAccessFile&>(file_)
                                       : *contents_->views.at(static_cast<size_t>(tensor.file) - 1);
    std::vector<T> values(tensor.bytes / sizeof(T));
    const absl::Status read = file.Read(
        tensor.offset,
        absl::MakeSpan(reinterpret_cast<uint8_t*>(values.data()), values.size() * sizeof(T)));
    EXPECT_TRUE(read.ok()) << read;
    return values;
  }

 private:
  const MemoryFile file_;
  absl::StatusOr<PytorchContents> contents_;
  std::map<std::string, StoredTensor> tensors_;
};

std::string Error(const std::string& name, const std::string& key = "") {
  return std::string(ReadPytorch(Fixture(name), key).status().message());
}

class PytorchTensorsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PytorchTensorsTest, HaveTheirDtypesAndValues) {
  Opened file(GetParam());

  EXPECT_THAT(file.contents().tensors, SizeIs(19));
  EXPECT_EQ(file.tensor("f32").type, TensorType::kF32);
  EXPECT_THAT(file.tensor("f32").shape, ElementsAre(2, 3));
  EXPECT_THAT(file.Values<float>("f32"), ElementsAre(1, -2, 0.5f, 3, 1e-20f, INFINITY));
  EXPECT_EQ(file.tensor("bf16").type, TensorType::kBF16);
  EXPECT_THAT(file.Values<uint16_t>("bf16"), ElementsAre(0x3f80, 0x4000, 0xbe00));
  EXPECT_EQ(file.tensor("f16").type, TensorType::kF16);
  EXPECT_THAT(file.Values<uint16_t>("f16"), ElementsAre(0x3c00, 0x7bff));
  EXPECT_EQ(file.tensor("f64").dtype, "F64");
  EXPECT_THAT(file.Values<double>("f64"), ElementsAre(1, 1e300));
  EXPECT_THAT(file.Values<float>("parameter"), ElementsAre(8, 9));
}

TEST_P(PytorchTensorsTest, OfIntegersAreListedButNoWeights) {
  Opened file(GetParam());

  EXPECT_EQ(file.tensor("steps").dtype, "I64");
  EXPECT_EQ(file.tensor("steps").type, std::nullopt);
  EXPECT_THAT(file.tensor("steps").shape, IsEmpty());
  EXPECT_THAT(file.Values<int64_t>("steps"), ElementsAre(7));
  EXPECT_EQ(file.tensor("mask").dtype, "BOOL");
  EXPECT_THAT(file.Values<uint8_t>("mask"), ElementsAre(1, 0, 1));
  EXPECT_THAT(file.tensor("empty").shape, ElementsAre(0, 3));
  EXPECT_EQ(file.tensor("empty").bytes, 0u);
}

TEST_P(PytorchTensorsTest, AreReadRowByRowWhateverTheirStrides) {
  Opened file(GetParam());

  EXPECT_THAT(file.Values<float>("rows"), ElementsAre(6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17));
  EXPECT_THAT(file.tensor("transposed").shape, ElementsAre(6, 4));
  EXPECT_THAT(file.Values<float>("transposed"),
              ElementsAre(0, 6, 12, 18, 1, 7, 13, 19, 2, 8, 14, 20, 3, 9, 15, 21, 4, 10, 16, 22, 5,
                          11, 17, 23));
  EXPECT_THAT(file.Values<float>("every_other"), ElementsAre(1, 3, 5, 13, 15, 17));
  EXPECT_THAT(file.Values<float>("corner"), ElementsAre(15, 16, 17, 21, 22, 23));
  EXPECT_THAT(file.Values<float>("repeated"),
              ElementsAre(1.5f, 2.5f, 3.5f, 1.5f, 2.5f, 3.5f, 1.5f, 2.5f, 3.5f, 1.5f, 2.5f, 3.5f));
  EXPECT_THAT(file.Values<int64_t>("long_transposed"), ElementsAre(0, 3, 1, 4, 2, 5));
  // 0 to 7 as bf16: the first values of [4, 2, 3] of a [2, 3, 4].
  const std::vector<uint16_t> swapped = file.Values<uint16_t>("swapped");
  EXPECT_THAT(file.tensor("swapped").shape, ElementsAre(4, 2, 3));
  EXPECT_THAT(std::vector<uint16_t>(swapped.begin(), swapped.begin() + 4),
              ElementsAre(0, 0x4080, 0x4100, 0x4140));  // 0, 4, 8, 12
}

TEST_P(PytorchTensorsTest, OfTheSameMemoryAreTheSameBytes) {
  Opened file(GetParam());

  for (const auto& [one, other] :
       {std::pair("embed.weight", "head.weight"), std::pair("transposed", "transposed_again")}) {
    EXPECT_EQ(file.tensor(one).file, file.tensor(other).file) << one;
    EXPECT_EQ(file.tensor(one).offset, file.tensor(other).offset) << one;
  }
  EXPECT_THAT(file.Values<float>("head.weight"), ElementsAre(0.5f, -1.25f, 3, 1e-3f));
}

INSTANTIATE_TEST_SUITE_P(ByteOrders, PytorchTensorsTest,
                         ::testing::Values("tensors.pt", "big_endian.pt"),
                         [](const auto& name) { return std::string(name.param, 3); });

// The optimizer's dict of the embedding alone has 804 bytes.
TEST(PytorchTest, TakesTheDictWithTheMostBytesOfATrainingRun) {
  Opened file("training.pt");

  EXPECT_EQ(file.contents().choice.chosen.key, "trainer.model");
  EXPECT_EQ(file.contents().choice.chosen.tensors, 8u);
  EXPECT_EQ(file.contents().choice.chosen.bytes, 572u);
  EXPECT_THAT(file.contents().choice.others,
              AllOf(SizeIs(7), Contains(Field(&TensorDict::key, "averaged")),
                    Contains(AllOf(Field(&TensorDict::key, "optimizer.state.0"),
                                   Field(&TensorDict::bytes, 804u))),
                    Contains(Field(&TensorDict::key, ""))));
  EXPECT_THAT(file.tensor("head.weight").shape, ElementsAre(5, 4));
  EXPECT_EQ(file.Values<int64_t>("norm.num_batches_tracked"), std::vector<int64_t>({2}));
}

TEST(PytorchTest, TakesTheDictThatTheKeyNames) {
  Opened averaged("training.pt", "averaged");
  EXPECT_EQ(averaged.tensor("head.weight").type, TensorType::kF16);
  EXPECT_EQ(Opened("training.pt", "optimizer.state.3").tensor("exp_avg").bytes, 80u);

  EXPECT_THAT(Error("training.pt", "model"),
              AllOf(HasSubstr("no dict of tensors under the key \"model\""),
                    HasSubstr("\"trainer.model\""), HasSubstr("\"averaged\"")));
  EXPECT_THAT(Error("training.pt", "args"), HasSubstr("under the key \"args\""));
}

TEST(PytorchTest, NamesWhatOfTheDictIsNoTensor) {
  EXPECT_THAT(Opened("protocol_4.pt").contents().choice.skipped, UnorderedElementsAre("b", "c"));
  EXPECT_THAT(Opened("protocol_5.pt").Values<float>("a"), ElementsAre(0, 1, 2));
}

TEST(PytorchTest, RefusesCodeByNameAndPlace) {
  EXPECT_THAT(Error("os_system.pt"),
              AllOf(HasSubstr("os_system.pt: pickle byte 169: \"posix.system\""),
                    HasSubstr("nothing of a file is executed")));
  EXPECT_THAT(Error("unknown_class.pt"), HasSubstr("\"fractions.Fraction\""));
}

TEST(PytorchTest, SaysWhatAFileOfAnotherKindIs) {
  EXPECT_THAT(Error("module.pt"),
              AllOf(HasSubstr("an object of class \"torch.nn.modules.linear.Linear\""),
                    HasSubstr("state_dict()")));
  EXPECT_THAT(Error("script.pt"), HasSubstr("a TorchScript program"));
  EXPECT_THAT(Error("legacy.pt"), AllOf(HasSubstr("before PyTorch 1.6"),
                                        HasSubstr("python3 -c 'import sys, torch; torch.save(")));
  EXPECT_THAT(Error("compressed.pt"), HasSubstr("\"tensors/data.pkl\": is compressed"));
  EXPECT_THAT(Error("archive.zip"), HasSubstr("has no data.pkl"));
  EXPECT_THAT(Error("tensors.safetensors"), HasSubstr("is a safetensors file"));
}

TEST(PytorchTest, RefusesEveryTruncation) {
  const std::string whole = BytesOf(Fixture("tensors.pt"));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ReadPytorch(MemoryFile(whole.substr(0, size))).ok()) << size;
  }
}

// What is told of a file's tensors, without their bytes.
std::string Facts(const PytorchContents& contents) {
  std::string facts;
  for (const StoredTensor& tensor : contents.tensors) {
    absl::StrAppend(&facts, tensor.name, tensor.dtype, tensor.file, " ", tensor.bytes, "\n");
  }
  return facts;
}

TEST(PytorchTest, ReadsNothingBeyondTheFileWhateverByteIsWrong) {
  for (const auto& [name, step] : {std::pair("tensors.pt", 1), std::pair("training.pt", 11)}) {
    const MemoryFile file = Fixture(name);
    const std::string whole = BytesOf(file);
    const std::string facts = Facts(*ReadPytorch(file));
    int refused = 0, same = 0;
    for (size_t i = 0; i < whole.size(); i += step) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << i % 8));
      const MemoryFile spoiled(bytes);
      const auto contents = ReadPytorch(spoiled);
      refused += !contents.ok();
      if (!contents.ok()) continue;
      same += Facts(*contents) == facts;
      for (const StoredTensor& tensor : contents->tensors) {
        std::vector<uint8_t> values(tensor.bytes);
        const RandomAccessFile& of = tensor.file == 0
                                         ? static_cast<const RandomAccessFile&>(spoiled)
                                         : *contents->views[static_cast<size_t>(tensor.file) - 1];
        EXPECT_TRUE(of.Read(tensor.offset, absl::MakeSpan(values)).ok()) << name << " " << i;
      }
    }
    EXPECT_GT(refused, 100) << name;
    EXPECT_GT(same, 100) << name;  // values, paddings
  }
}

}  // namespace
}  // namespace peerage
