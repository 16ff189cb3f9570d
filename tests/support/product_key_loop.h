#pragma once

#include <string>
#include <vector>

#include "model/experts/expert_control.h"
#include "tests/support/memory_checkpoint.h"

namespace peerage {

using DoubleRow = std::vector<double>;
using DoubleRows = std::vector<DoubleRow>;  // [tokens][width]

// y = W x for each row, the matrix by the name of its tensor; its last dimension is that of x.
DoubleRows MultiplyRows(const MemoryCheckpoint& checkpoint, const std::string& tensor,
                        const DoubleRows& x);

// What a token's heads pick, as literally as docs/model_format.md says it.
struct DoublePicks {
  std::vector<uint32_t> ids;  // [heads][top_k]
  DoubleRow weights;
  // The least difference between a sum (or half's score) that was kept and one that was not: what
  // rounding must stay below for every float path to pick the same.
  double margin = 0;
  // Of softmax over all experts of a head, [heads]: the sum over those it picks, and the entropy.
  DoubleRow kept_mass = {};
  DoubleRow entropy = {};
};

// Routing by product keys, brute force in double. `prefix`: "model.layers.0.ffn.peer.". Under a
// control there are fewer picks where it leaves fewer, and only ids and weights are told.
DoublePicks PickByProductKeys(const MemoryCheckpoint& checkpoint, const ProductKeyConfig& config,
                              const std::string& prefix, const DoubleRow& x,
                              const TokenControl& control = {});

// What query and experts of PEER read of u: u, or its norm.
DoubleRow PeerInput(const MemoryCheckpoint& checkpoint, const PeerConfig& config,
                    const std::string& prefix, DoubleRow u);
// What PEER adds to the residual stream for a token whose experts read x, and a product-key memory
// for one that reads u.
DoubleRow PeerOutput(const MemoryCheckpoint& checkpoint, const PeerConfig& config,
                     const std::string& prefix, const DoubleRow& x,
                     const TokenControl& control = {});
DoubleRow MemoryOutput(const MemoryCheckpoint& checkpoint, const ProductKeyMemoryConfig& config,
                       const std::string& prefix, const DoubleRow& u,
                       const TokenControl& control = {});

double Activated(Activation function, double x);

}  // namespace peerage
