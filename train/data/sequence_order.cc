#include "train/data/sequence_order.h"

#include <array>
#include <numeric>
#include <utility>

#include "model/kernels/philox.h"

namespace peerage::train {
namespace {

// Fisher and Yates; a number below 2^64 chooses among so few that its remainder is fair enough.
std::vector<int64_t> Shuffled(int64_t count, uint64_t seed, int source, int64_t epoch) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  for (int64_t i = count - 1; i > 0; --i) {
    const std::array<uint32_t, 4> bits =
        Philox({static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32),
                static_cast<uint32_t>(source), static_cast<uint32_t>(epoch)},
               {key[0], key[1]});
    const uint64_t number = uint64_t{bits[0]} << 32 | bits[1];
    std::swap(order[i], order[number % (i + 1)]);
  }
  return order;
}

}  // namespace

SequenceOrder::SequenceOrder(std::vector<Source> sources, uint64_t seed)
    : sources_(std::move(sources)),
      seed_(seed),
      given_of_(sources_.size(), 0),
      epoch_(sources_.size(), -1),
      shuffled_(sources_.size()) {
  for (const Source& source : sources_) total_weight_ += source.weight;
}

// The source that is furthest behind its share.
int SequenceOrder::NextSource() {
  ++given_;
  int next = 0;
  double most = 0;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const double share = sources_[i].weight / total_weight_;
    const double behind = share * static_cast<double>(given_) - static_cast<double>(given_of_[i]);
    if (i == 0 || behind > most) {
      most = behind;
      next = static_cast<int>(i);
    }
  }
  return next;
}

SequenceOrder::Place SequenceOrder::Next() {
  const int source = NextSource();
  const int64_t count = sources_[source].sequences, given = given_of_[source]++;
  if (epoch_[source] != given / count) {
    epoch_[source] = given / count;
    shuffled_[source] = Shuffled(count, seed_, source, epoch_[source]);
  }
  return {source, shuffled_[source][given % count]};
}

void SequenceOrder::Skip(int64_t count) {
  for (int64_t i = 0; i < count; ++i) ++given_of_[NextSource()];
}

}  // namespace peerage::train
