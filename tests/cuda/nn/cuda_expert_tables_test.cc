// Tables of experts in every format, read by a device as by the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "model/nn/load_model.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/odd_models.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

FeedResult FeedTo(const std::string& device, const MemoryCheckpoint& checkpoint,
                  nn::ExpertDtype dtype) {
  const auto model = nn::LoadModel(checkpoint, {.device = device,
                                                .weights_dtype = nn::WeightsDtype::kF32,
                                                .expert_dtype = dtype,
                                                .activation_dtype = nn::ActivationDtype::kF32,
                                                .kv_dtype = nn::KvDtype::kF32,
                                                .num_slots = 8,
                                                .kv_cache_bytes = 4 << 20});
  EXPECT_TRUE(model.ok()) << model.status();
  return Feed(**model, {{Prompt(40, 11), {7, 2}}});
}

// The CPU's integer formats round what they multiply by to 16 bits, and the device does not.
TEST(CudaExpertTablesTest, GiveWhatTheyGiveOnTheCpu) {
  using enum nn::ExpertDtype;
  const std::vector<NamedModel> models = OddModels();
  for (const char* name : {"Peer", "Memory"}) {
    const auto model =
        std::find_if(models.begin(), models.end(), [&](const auto& m) { return m.name == name; });
    ASSERT_NE(model, models.end());
    const MemoryCheckpoint checkpoint(model->config, 41);
    const FeedResult exact = FeedTo("cpu", checkpoint, kF32);
    for (const nn::ExpertDtype dtype : {kBF16, kInt8, kInt4, kFp8}) {
      SCOPED_TRACE(testing::Message() << name << ", format " << static_cast<int>(dtype));
      const FeedResult cpu = FeedTo("cpu", checkpoint, dtype);
      const FeedResult cuda = FeedTo("cuda:0", checkpoint, dtype);
      EXPECT_EQ(cuda.ids, cpu.ids);
      EXPECT_NE(cpu.logprobs, exact.logprobs);
      ASSERT_EQ(cuda.logprobs[0].size(), cpu.logprobs[0].size());
      for (size_t i = 0; i < cpu.logprobs[0].size(); ++i) {
        EXPECT_NEAR(cuda.logprobs[0][i], cpu.logprobs[0][i], 1e-4) << i;
      }
    }
  }
}

}  // namespace
}  // namespace peerage
