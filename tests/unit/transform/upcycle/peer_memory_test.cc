#include "model/transform/upcycle/peer_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace peerage::transform {
namespace {

using ::testing::HasSubstr;

TEST(PeerMemoryTest, ReadsFields) {
  const auto memory = ParsePeerMemory(
      "layer=15,experts=65536,heads=8,top_k=16,key_dim=128,activation=silu,glu=true");

  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->layer, 15);
  EXPECT_EQ(memory->entry.dump(),
            R"({"kind":"peer","num_experts":65536,"heads":8,"top_k":16,"key_dim":128,)"
            R"("activation":"silu","glu":true})");
}

TEST(PeerMemoryTest, GivesEveryHeadItsOwnExperts) {
  const auto memory =
      ParsePeerMemory("layer=0,experts=16,heads=2,top_k=3,key_dim=8,expert_tables=per_head");

  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->entry["experts"], "per_head");
}

TEST(PeerMemoryTest, NamesTheKeyThatIsWrong) {
  const struct {
    const char* text;
    const char* error;
  } cases[] = {
      {"",
       "\"\" is not a known key; they are layer, experts, heads, top_k, key_dim, "
       "expert_tables, keys, query_bias, query_norm, query_norm_eps, score, activation, glu, "
       "pre_rmsnorm"},
      {"layer=1", ": experts is missing"},
      {"layer=1,heads=8,top_k=16,key_dim=128", ": experts is missing"},
      {"experts=16,heads=8,top_k=16,key_dim=128", "layer is missing"},
      {"layer=-1,experts=16,heads=8,top_k=16,key_dim=8", "layer is -1"},
      {"layer=x,experts=16,heads=8,top_k=16,key_dim=8", "layer is not an integer"},
      {"layer=1,experts=15,heads=8,top_k=15,key_dim=8", ": experts is 15, not a square number"},
      {"layer=1,experts=16,heads=8,top_k=16,key_dim=8,expert_tables=own",
       ": expert_tables is \"own\", not shared or per_head"},
      {"layer=1,num_experts=16", "\"num_experts\" is not a known key"},
      {"layer=1,experts=16,heads=8,top_k=17,key_dim=8", "top_k is 17"},
      {"layer=1,experts=16,heads=8,top_k=16,key_dim=7", "key_dim is 7, not an even number"},
      {"layer=1,experts=16,heads=33,top_k=16,key_dim=8", "heads is 33"},
      {"layer=1,experts=16,heads=8,top_k=16,key_dim=8,heads=8", "\"heads\" is there twice"},
      {"layer=1,experts=16,heads=8,top_k=16,key_dim=8,layout=doge",
       "\"layout\" is not a known key"},
      {"layer=1,experts=16,heads=8,top_k=16,key_dim=8,score=max", "score is \"max\""},
      {"layer=1,experts=16,heads=8,top_k=16,key_dim", "key_dim is not an integer"},
  };
  for (const auto& test : cases) {
    const std::string error(ParsePeerMemory(test.text).status().message());
    EXPECT_THAT(error, HasSubstr(std::string("peer \"") + test.text + "\": ")) << error;
    EXPECT_THAT(error, HasSubstr(test.error));
  }
}

}  // namespace
}  // namespace peerage::transform
