#include <gtest/gtest.h>

#include "model/kernels/attention_cuda.h"
#include "model/nn/cuda/attention.h"

namespace peerage::nn::cuda {
namespace {

using kernels::cuda::AttentionShape;

// A shorter context may have its splits side by side where the longest has not.
TEST(AttentionSplitsTest, PartialSumsOfEveryStepFitWhatIsTakenForThem) {
  for (const AttentionShape& shape :
       {AttentionShape{.heads = 9, .kv_heads = 3, .head_dim = 64},
        AttentionShape{.heads = 32, .kv_heads = 8, .head_dim = 128},
        AttentionShape{.heads = 64, .kv_heads = 8, .head_dim = 128},
        AttentionShape{.heads = 128, .kv_heads = 8, .head_dim = 128},
        AttentionShape{.heads = 2000, .kv_heads = 2000, .head_dim = 8}}) {
    for (const int longest : {100, 2048, 131072, 1 << 20}) {
      constexpr int kTokens = 300;
      const size_t taken = MostPartialFloats(shape, kTokens, longest);
      bool any = false;
      for (int tokens = 1; tokens <= kTokens; ++tokens) {
        for (int context = 32; context <= longest; context += context < 8192 ? 160 : context / 5) {
          const int splits = SplitsFor(shape, tokens, context);
          if (splits == 0) continue;
          any = true;
          ASSERT_LE(kernels::cuda::AttentionPartialFloats(shape, tokens, splits), taken)
              << shape.heads << " heads, " << tokens << " tokens, context " << context << " of "
              << longest;
        }
      }
      EXPECT_EQ(any, longest > 128 && shape.kv_heads <= 8) << shape.heads << ", " << longest;
    }
  }
}

}  // namespace
}  // namespace peerage::nn::cuda
