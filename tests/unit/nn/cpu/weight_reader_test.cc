#include "model/nn/cpu/weight_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/nn/cpu/weight_placer.h"
#include "tests/support/tensor_checkpoint.h"

namespace peerage::nn::cpu {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A checkpoint of which some rows cannot be read.
class BrokenCheckpoint : public TensorCheckpoint {
 public:
  std::string broken;        // tensor
  int64_t first_broken = 0;  // from this row on
  mutable std::atomic<int> reads = 0;

  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override {
    ++reads;
    const int64_t count = bytes.size() / (tensor.bytes / tensor.shape[0]);
    if (tensor.name == broken && first + count > first_broken) {
      return absl::DataLossError("cannot read " + tensor.name);
    }
    return TensorCheckpoint::ReadRows(tensor, first, bytes);
  }
};

// Places, allocates and reads what place(placer) asks for; the first error ends it.
template <typename Place>
absl::Status ReadAll(const Checkpoint& checkpoint, const Place& place, int threads = 1,
                     ProgressFunction progress = {}, WeightPlacer::Formats formats = {}) {
  std::vector<WeightPlacer::Read> reads;
  const auto storage = AllocateFor(Pages::kNormal, [&](Arena& arena) {
    WeightPlacer placer(checkpoint, formats, arena);
    place(placer);
    reads = placer.reads();
  });
  kernels::ThreadPool pool(threads);
  WeightReader reader(checkpoint, pool, std::move(progress));
  for (const WeightPlacer::Read& read : reads) {
    const absl::Status status = read(reader);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// One of everything that is read. A table of 4001 experts comes in several pieces.
void AddOfEveryKind(TensorCheckpoint& checkpoint, int experts = 4001) {
  checkpoint.Add("rows", TensorType::kF32, {33, 31});
  checkpoint.Add("columns", TensorType::kF32, {1031, 33});
  checkpoint.Add("router", TensorType::kBF16, {7, 33});
  checkpoint.Add("query", TensorType::kF32, {5, 33});
  for (const char* name : {"weight", "bias", "mean", "var"}) {
    checkpoint.Add(name, TensorType::kF32, {5});
    for (int i = 0; i < 5; ++i) checkpoint.Set(name, i, 1.5f);
  }
  checkpoint.Add("query_bias", TensorType::kF32, {5});
  checkpoint.Add("keys", TensorType::kF16, {2, 31, 7});
  checkpoint.AddBytes("down", TensorType::kF32, {experts, 257},
                      std::vector<uint8_t>(experts * 257 * 4));
  checkpoint.AddBytes("up", TensorType::kBF16, {experts, 257},
                      std::vector<uint8_t>(experts * 257 * 2));
  checkpoint.Add("norm", TensorType::kF32, {33});
}

void PlaceEveryKind(WeightPlacer& placer) {
  const auto vector = [](const char* name) {
    return PlannedTensor{name, {5}, TensorRole::kRouter};
  };
  placer.Linear({{{"rows", 30, 3}, {"rows", 0, 30}}});
  placer.Linear({{{"columns", 0, 10}, {"columns", 10, 23}}, Join::kColumns});
  placer.Router({"router"});
  placer.FoldedRouter("query", "query_bias",
                      {.epsilon = 1,
                       .weight = vector("weight"),
                       .bias = vector("bias"),
                       .running = {{vector("mean"), vector("var")}}});
  placer.SubKeySets("keys");
  placer.Experts(kernels::ExpertKind::kNeuron, {"down", "up"});
  placer.Vector("norm");
}

// The bytes of all tensors, each once, whoever reads them.
TEST(WeightReaderTest, ProgressSumsToAllBytes) {
  TensorCheckpoint checkpoint;
  AddOfEveryKind(checkpoint);
  uint64_t total = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) total += tensor.bytes;
  for (const int threads : {1, 3}) {
    LoadProgress last;
    int calls = 0;
    const absl::Status status =
        ReadAll(checkpoint, PlaceEveryKind, threads, [&](const LoadProgress& progress) {
          EXPECT_GT(progress.loaded, last.loaded);
          EXPECT_EQ(progress.total, total);
          last = progress;
          ++calls;
        });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(last.loaded, total);
    EXPECT_GT(calls, 13);  // tables and columns come in pieces
  }
}

TEST(WeightReaderTest, APieceThatFailsEndsItWithThatError) {
  for (const char* name : {"rows", "columns", "router", "query", "query_bias", "weight", "bias",
                           "mean", "var", "keys", "down", "up", "norm"}) {
    BrokenCheckpoint checkpoint;
    AddOfEveryKind(checkpoint, 31);
    checkpoint.broken = name;
    const absl::Status status = ReadAll(checkpoint, PlaceEveryKind, 2);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name;
    EXPECT_EQ(status.message(), std::string("cannot read ") + name);
  }
}

// The last piece of a table counts as the first does; those behind a failure are not read.
TEST(WeightReaderTest, ATablesErrorIsOfWhateverPiece) {
  BrokenCheckpoint checkpoint;
  AddOfEveryKind(checkpoint);
  checkpoint.broken = "down";
  const auto place = [](WeightPlacer& placer) {
    placer.Experts(kernels::ExpertKind::kNeuron, {"down", "up"});
  };
  for (const int threads : {1, 2, 3}) {
    for (const int64_t row : {int64_t{0}, int64_t{2000}, int64_t{4000}}) {
      checkpoint.first_broken = row;
      uint64_t loaded = 0;
      const absl::Status status =
          ReadAll(checkpoint, place, threads,
                  [&](const LoadProgress& progress) { loaded = progress.loaded; });
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << row;
      EXPECT_LE(loaded, checkpoint.Find("down")->bytes + checkpoint.Find("up")->bytes);
    }
  }
  checkpoint.first_broken = 0;
  checkpoint.reads = 0;
  EXPECT_FALSE(ReadAll(checkpoint, place).ok());
  EXPECT_EQ(checkpoint.reads, 1);
}

TEST(WeightReaderTest, ARoutersValuesAreNumbers) {
  for (const char* name :
       {"router", "query", "query_bias", "weight", "bias", "mean", "var", "keys"}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      TensorCheckpoint checkpoint;
      AddOfEveryKind(checkpoint, 3);
      checkpoint.Set(name, checkpoint.values(name).size() - 1, bad);
      const absl::Status status = ReadAll(checkpoint, PlaceEveryKind);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
      EXPECT_THAT(std::string(status.message()), HasSubstr("\"" + std::string(name) + "\""));
    }
  }
}

// Two matrices of whole blocks, joined by rows or by columns.
absl::Status ReadQuantized(const Checkpoint& checkpoint, WeightsDtype dtype, Join join) {
  const auto place = [&](WeightPlacer& placer) {
    placer.Linear({{{"a", 0, 64}, {"b", 0, 64}}, join});
  };
  return ReadAll(checkpoint, place, 2, {}, {.weights = dtype});
}

TEST(WeightReaderTest, RefusesByNameWhatAFormatCannotHold) {
  const struct {
    WeightsDtype dtype;
    float magnitude;
    const char* error;
  } cases[] = {
      {WeightsDtype::kQ8_0, 1e-8f,
       "a block whose largest magnitude is 1e-08 is too small for q8_0, whose scales are f16: it "
       "would be lost; f32 and bf16 hold it"},
      {WeightsDtype::kQ4_1, 1e-8f,
       "a block whose largest magnitude is 1e-08 is too small for q4_1"},
      {WeightsDtype::kQ8_0, 9e6f, "a value of magnitude 9e+06 is beyond the range of q8_0"},
      {WeightsDtype::kQ4_1, 9e6f, "a value of magnitude 9e+06 is beyond the range of q4_1"},
      {WeightsDtype::kBF16, 3.4e38f, "a value of magnitude 3.4e+38 is beyond the range of bf16"},
      {WeightsDtype::kQ8_0, 6e4f, ""},
      {WeightsDtype::kBF16, 1e-30f, ""},
  };
  for (const auto& [dtype, magnitude, error] : cases) {
    for (const Join join : {Join::kRows, Join::kColumns}) {
      TensorCheckpoint checkpoint;
      for (const char* name : {"a", "b"}) checkpoint.Add(name, TensorType::kF32, {64, 64});
      for (int i = 32; i < 64; ++i) checkpoint.Set("b", 40 * 64 + i, i == 50 ? magnitude : 0);

      const absl::Status status = ReadQuantized(checkpoint, dtype, join);

      EXPECT_EQ(status.ok(), *error == 0) << status;
      if (*error != 0) {
        EXPECT_THAT(std::string(status.message()),
                    StartsWith(absl::StrCat("tensor \"b\": ", error)));
      }
    }
  }
}

// As the embeddings of tokens that no training met.
TEST(WeightReaderTest, TakesBlocksThatAreDead) {
  TensorCheckpoint checkpoint;
  for (const char* name : {"a", "b"}) checkpoint.Add(name, TensorType::kF32, {64, 64});
  for (int i = 0; i < 64; ++i) checkpoint.Set("b", i, 1e-23f);

  for (const WeightsDtype dtype : {WeightsDtype::kQ8_0, WeightsDtype::kQ4_1}) {
    EXPECT_TRUE(ReadQuantized(checkpoint, dtype, Join::kRows).ok());
  }
}

// What decides nothing may hold anything: a request that meets it fails alone.
TEST(WeightReaderTest, OtherWeightsMayBeNaN) {
  TensorCheckpoint checkpoint;
  AddOfEveryKind(checkpoint, 3);
  for (const char* name : {"rows", "columns", "down", "up", "norm"}) {
    checkpoint.Set(name, 0, std::numeric_limits<float>::quiet_NaN());
  }
  EXPECT_TRUE(ReadAll(checkpoint, PlaceEveryKind).ok());
}

}  // namespace
}  // namespace peerage::nn::cpu
