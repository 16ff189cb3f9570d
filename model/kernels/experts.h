// One-neuron experts (PEER, He 2024, section 2.2) gathered from a table of up to millions:
//
//   y += sum over heads and picks of weight * act(down[id] . x) * up[id]
//   with a gate:               weight * act(gate[id] . x) * (down[id] . x) * up[id]
//   product-key memory:        weight * value[id]
//
// A table holds one record an expert, its vectors side by side, so that a pick is one stream from
// memory (expert_record.h). Sums run in a fixed order: picks in order within a head, then heads in
// order, so a token's bits do not depend on batch, threads or instruction set. An expert's scalar
// does not depend on the experts beside it, nor a column of y on the others: tables can be divided
// by expert and by column of the last vector (docs/adr/0008). Columns of formats with scales are
// cut from packed records, since scales belong to the whole vector (int8, fp8) or to elements that
// share a segment of 512 (int4).
//
// A token with a NaN or an infinity among its activations becomes NaN, in every format, unless the
// experts are values, which do not look at it. NaNs of weights and records spread as they do in
// arithmetic: no pick is left out because its weight is 0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/gated_activation.h"

namespace peerage::kernels {

// int8: symmetric, one f32 scale a vector; elements err by half a step (1 / 254 of the largest
// magnitude). int4: -8..7, one bf16 scale for each group of 32 elements, chosen for the least
// squared error. Both multiply by x rounded to 16 bits (1 / 65278 of its largest magnitude). fp8:
// e4m3 (Micikevicius et al. 2022), one f32 scale a vector, which puts the largest magnitude on 448;
// elements err by 1 / 16 of themselves, those below 1 / 28672 of the largest by half of that step.
// What lies below 1e-30 is taken for zero in the three.
enum class ExpertFormat : uint8_t { kF32, kBF16, kInt8, kInt4, kFp8 };

enum class ExpertKind : uint8_t {
  kNeuron,       // vectors: down, up
  kGatedNeuron,  // vectors: gate, down, up
  kValue,        // one vector
};

struct ExpertTable {
  ExpertFormat format = ExpertFormat::kF32;
  ExpertKind kind = ExpertKind::kNeuron;
  int width = 0;  // d
  int64_t num_experts = 0;
  const uint8_t* records = nullptr;  // [num_experts][RecordBytes()], 64-byte aligned

  int vectors() const {
    return kind == ExpertKind::kValue ? 1 : kind == ExpertKind::kNeuron ? 2 : 3;
  }
  size_t RecordBytes() const;  // a multiple of 64
  size_t Bytes() const { return RecordBytes() * static_cast<size_t>(num_experts); }
};

// Writes one vector (an index in the order of ExpertKind) of experts [first, first + count) into
// `records`, which is zeroed before the first call. `rows`: f32 [count][width]. bf16 rounds to
// nearest even. A NaN or an infinity makes its vector (int8, fp8) or group (int4) NaN. Threads may
// pack different experts at the same time.
struct PackExpertsArgs {
  ExpertTable shape;
  int vector = 0;
  int64_t first = 0;
  int64_t count = 0;
  const float* rows = nullptr;
};
void PackExperts(const PackExpertsArgs& args, uint8_t* records);

// One vector of one expert as f32 [width]: what the table's format made of it.
void UnpackExpert(const ExpertTable& table, int64_t expert, int vector, float* out);

struct ExpertArgs {
  ExpertTable table;
  Activation activation = Activation::kGelu;  // of neurons
  int heads = 0;
  int top_k = 0;
  const float* x = nullptr;  // [tokens][x_stride]; not read by values
  size_t x_stride = 0;
  // [tokens][heads][top_k], each below num_experts. From the first kNoExpert of a head on there are
  // no picks.
  const uint32_t* ids = nullptr;
  const float* weights = nullptr;  // likewise
  float* y = nullptr;              // [tokens][y_stride], added to
  size_t y_stride = 0;
};

// Bytes that one thread needs beside the arguments, 64-byte aligned.
size_t ExpertScratchBytes(const ExpertTable& table);

// Tokens [first, end): y += (head 0 + head 1) + head 2 ...
void AddExperts(const ExpertArgs& args, int first, int end, uint8_t* scratch);
// The specification, in double.
void AddExpertsReference(const ExpertArgs& args, int first, int end);

// The same in two steps, for batches smaller than the team: heads [first, end) of one token into
// partial sums, then their sum in order of heads. The bits are those of AddExperts.
struct HeadArgs {
  int token = 0;
  int first = 0;
  int end = 0;
};
void ExpertHeads(const ExpertArgs& args, const HeadArgs& which,
                 float* partial_sums /* [heads][width] of the token */, uint8_t* scratch);
void AddHeadSums(const ExpertArgs& args, int token, const float* partial_sums);

}  // namespace peerage::kernels
