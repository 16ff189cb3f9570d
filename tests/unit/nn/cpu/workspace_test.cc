#include "model/nn/cpu/workspace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace peerage::nn::cpu {
namespace {

constexpr BufferWidths kWidths{.qkv = 31,
                               .attended = 33,
                               .hidden = 97,
                               .input = 129,
                               .expert_input = 3,
                               .queries = 257,
                               .head_sums = 5,
                               .gates = 7,
                               .head_gates = 11,
                               .picked = 2};

// More tokens than rows of logits.
constexpr Workspace::Shape kShape{.widths = kWidths,
                                  .hidden_size = 13,
                                  .vocab_size = 101,
                                  .max_tokens = 65,
                                  .threads = 3,
                                  .expert_scratch_bytes = 1001};

struct Buffer {
  std::string name;
  const void* data;
  size_t bytes;
};

// Every buffer with the size that its comment in workspace.h says.
std::vector<Buffer> BuffersOf(const Workspace& w, size_t tokens) {
  const MixtureBuffers& m = w.mixture;
  const auto floats = [](const char* name, const float* data, size_t count) {
    return Buffer{name, data, count * sizeof(float)};
  };
  return {floats("residual", w.residual, tokens * 13),
          floats("normed", w.normed, tokens * 13),
          floats("qkv", w.qkv, tokens * 31),
          floats("attended", w.attended, tokens * 33),
          floats("gate_up", w.gate_up, tokens * 2 * 97),
          floats("hidden", w.hidden, tokens * 97),
          // 4 whole blocks of 129 values: 32 bytes each, a scale and a sum at least.
          {"panels", w.panels, tokens * 4 * (32 + 2 * sizeof(float))},
          floats("logits", w.logits, 64 * 101),
          floats("row_scratch", w.row_scratch, 3 * 101),
          floats("expert_input", w.expert_input, tokens * 3),
          floats("queries", w.queries, tokens * 257),
          floats("head_sums", w.head_sums, 2 * 5),
          {"expert_scratch", w.expert_scratch, 3 * 1024},
          floats("mixture.logits", m.logits, tokens * 7),
          floats("mixture.head_gates", m.head_gates, tokens * 11),
          floats("mixture.gathered", m.gathered, tokens * 2 * 13),
          floats("mixture.outputs", m.outputs, tokens * 2 * 13),
          {"mixture.row_of_pick", m.row_of_pick, tokens * 2 * sizeof(int32_t)}};
}

TEST(WorkspaceTest, BuffersAreDisjointAndWholeInsideTheStorage) {
  Workspace workspace;
  const Storage storage =
      *AllocateFor(Pages::kNormal, [&](Arena& arena) { workspace.Lay(kShape, arena); });

  std::vector<Buffer> buffers = BuffersOf(workspace, 65);
  std::sort(buffers.begin(), buffers.end(),
            [](const Buffer& a, const Buffer& b) { return a.data < b.data; });
  const uint8_t* end = storage.data();
  size_t taken = 0;
  for (const Buffer& buffer : buffers) {
    const auto* data = static_cast<const uint8_t*>(buffer.data);
    EXPECT_GE(data, end) << buffer.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % Arena::kAlignment, 0u) << buffer.name;
    std::memset(const_cast<uint8_t*>(data), 255, buffer.bytes);
    end = data + buffer.bytes;
    taken += buffer.bytes;
  }
  EXPECT_LE(end, storage.data() + storage.size());
  // Nothing of any size is left unsaid: padding, gaps and the last page.
  EXPECT_LE(storage.size(), taken + buffers.size() * 2 * Arena::kAlignment + 4096);
}

TEST(WorkspaceTest, TakesTheSameEachTime) {
  Workspace workspace;
  Arena first, second;
  workspace.Lay(kShape, first);
  workspace.Lay(kShape, second);
  EXPECT_EQ(first.used(), second.used());
}

// The output head works in groups of 64 rows, even when a step has fewer tokens.
TEST(WorkspaceTest, HasRoomForAGroupOfLogitsWhateverAStepTakes) {
  const auto bytes = [](int max_tokens) {
    Workspace::Shape shape = kShape;
    shape.max_tokens = max_tokens;
    return BytesFor([&](Arena& arena) {
      Workspace workspace;
      workspace.Lay(shape, arena);
    });
  };
  EXPECT_EQ(bytes(1), bytes(Workspace::kLogitRows));
  EXPECT_LT(bytes(64), bytes(65));
}

TEST(WorkspaceTest, ThreadsHaveScratchOfTheirOwn) {
  Workspace workspace;
  const Storage storage =
      *AllocateFor(Pages::kNormal, [&](Arena& arena) { workspace.Lay(kShape, arena); });
  EXPECT_EQ(workspace.expert_scratch_of(0), workspace.expert_scratch);
  EXPECT_EQ(workspace.expert_scratch_of(2) - workspace.expert_scratch_of(1), 1024);
  for (int thread = 0; thread < 3; ++thread) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(workspace.expert_scratch_of(thread)) % 64, 0u);
  }
}

}  // namespace
}  // namespace peerage::nn::cpu
