#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// What the calls of a run ask for, by their numbers: the same number asks the same, again and
// again, so that runs can be compared. Threads: safe from many.
class Workload {
 public:
  virtual ~Workload() = default;

  virtual v1::GenerateRequest Generate(size_t call) const = 0;
  virtual v1::ScoreRequest Score(size_t call) const = 0;
};

// A length of `length` or about it: even over [length * (1 - ratio), length * (1 + ratio)], rounded
// outwards.
struct LengthRange {
  uint32_t least = 0;
  uint32_t most = 0;
};
LengthRange RangeAround(uint32_t length, double ratio, uint32_t at_least);

// Random token ids of a vocabulary, in lengths of their own.
struct RandomTokens {
  uint64_t seed = 0;
  uint32_t vocabulary_size = 0;
  uint32_t prefix_length = 0;  // the same tokens in front of every prompt or context
  LengthRange input;           // of the rest
  LengthRange output;          // that is generated, or of each continuation
  uint32_t continuations = 1;  // of a Score
};

// What all calls have in common is in the requests that they are made of.
class RandomWorkload : public Workload {
 public:
  RandomWorkload(const RandomTokens& tokens, v1::GenerateRequest generate, v1::ScoreRequest score);

  v1::GenerateRequest Generate(size_t call) const override;
  v1::ScoreRequest Score(size_t call) const override;

 private:
  const RandomTokens tokens_;
  const v1::GenerateRequest generate_;
  const v1::ScoreRequest score_;
  v1::TokenIds prefix_;
};

}  // namespace peerage::client
