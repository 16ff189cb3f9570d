// That a step allocates nothing once the first steps have been taken: a program of its own, since
// it replaces operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/odd_models.h"
#include "tests/support/sequence_feed.h"

namespace {

std::atomic<int64_t> allocations = 0;

void* Allocate(size_t size, size_t alignment) {
  ++allocations;
  const size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Those of arrays, and those that do not throw, call these. Inlined, memory of `new` would seem to
// the compiler to be freed by another allocator.
[[gnu::noinline]] void* operator new(size_t size) {
  return Allocate(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace peerage {
namespace {

// 240 tokens in all, so that no counter of an expert is full: then it takes an entry beside the
// counters, once.
constexpr int kSequences = 3;

// Prompts in chunks, then tokens one by one: sampled, scored, with alternatives and traces. What a
// step is told is made beforehand.
class Conversation {
 public:
  Conversation() {
    for (int s = 0; s < kSequences; ++s) {
      prompts_.push_back(Prompt(33, 5 + s));
      blocks_.push_back({2 * s, 2 * s + 1});
    }
  }

  void Open(LanguageModel& model) const {
    for (SlotId slot = 0; slot < kSequences; ++slot) {
      model.Open(slot, {.sampling = {.temperature = 0.5f * slot,
                                     .top_k = slot == 1 ? 31u : 0u,
                                     .top_p = 0.9f,
                                     .min_p = slot == 2 ? 0.01f : 0,
                                     .seed = 97}});
    }
  }

  // Steps of 7, 7, 7, 7 and 5 tokens of each sequence, then of one. False when one fails.
  bool Run(LanguageModel& model, std::vector<Chunk>& chunks, std::vector<OutputRow>& rows) const {
    bool ok = true;
    for (int at = 0; at < 40; at += at < 28 ? 7 : at < 33 ? 5 : 1) {
      const int count = at < 28 ? 7 : at < 33 ? 5 : 1;
      for (int s = 0; s < kSequences; ++s) {
        const absl::Span<const TokenId> tokens = prompts_[s];
        chunks[s] = {.slot = s,
                     .tokens = tokens.subspan(at < 33 ? at : 32, count),
                     .first_position = at,
                     .blocks = blocks_[s],
                     .trace = true};
        rows[s] = {.chunk = s, .row = count - 1, .sample = true, .alternatives = 3};
        rows[kSequences + s] = {.chunk = s, .row = 0, .targets = tokens.first(3)};
      }
      const HiddenRow hidden[] = {{.row = count - 1, .layer = 4}, {.row = 0, .layer = at % 4}};
      const auto output = model.Step({.chunks = chunks, .rows = rows, .hidden_rows = hidden});
      ok = ok && output.ok() && output->chunk_status[0].ok();
    }
    return ok;
  }

 private:
  std::vector<std::vector<TokenId>> prompts_;
  std::vector<std::vector<BlockId>> blocks_;
};

TEST(AllocationTest, AStepAllocatesNothingAfterTheFirstSteps) {
  const Conversation conversation;
  for (const auto& [name, config] : OddModels()) {
    MemoryCheckpoint checkpoint(config, 7);
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      if (!absl::StrContains(tensor.name, "ffn.peer.router.")) continue;
      // Weights by relu stay below one.
      for (float& value : checkpoint.values(tensor.name)) value /= 64;
    }
    for (const int threads : {1, 3}) {
      SCOPED_TRACE(testing::Message() << name << ", " << threads << " threads");
      const auto model = LoadSmall(checkpoint, {.threads = threads});
      std::vector<Chunk> chunks(kSequences);
      std::vector<OutputRow> rows(2 * kSequences);
      conversation.Open(*model);
      ASSERT_TRUE(conversation.Run(*model, chunks, rows));

      const int64_t before = allocations;
      const bool ok = conversation.Run(*model, chunks, rows);
      EXPECT_EQ(allocations - before, 0);
      EXPECT_TRUE(ok);
    }
  }
}

// The counter counts: what this program's containers and objects allocate is seen.
TEST(AllocationTest, AllocationsAreSeen) {
  const int64_t before = allocations;
  const std::string text(257, 'x');
  std::vector<int> numbers(text.size());
  EXPECT_EQ(allocations - before, 2);
}

}  // namespace
}  // namespace peerage
