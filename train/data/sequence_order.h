#pragma once

#include <cstdint>
#include <vector>

namespace peerage::train {

// In which order sequences of several sources are trained on: sources by their weights, evenly
// mixed at any time; the sequences of each shuffled, all of them once before any comes again, in
// another order then. The order depends on the seed and on nothing else, so that a run can go on
// anywhere.
class SequenceOrder {
 public:
  struct Source {
    int64_t sequences = 0;  // at least 1
    double weight = 0;      // above 0
  };
  struct Place {
    int source = 0;
    int64_t sequence = 0;

    bool operator==(const Place&) const = default;
  };

  SequenceOrder(std::vector<Source> sources, uint64_t seed);

  Place Next();
  // As Next so many times.
  void Skip(int64_t count);

 private:
  int NextSource();

  const std::vector<Source> sources_;
  const uint64_t seed_;
  double total_weight_ = 0;
  int64_t given_ = 0;
  std::vector<int64_t> given_of_;               // [sources]
  std::vector<int64_t> epoch_;                  // of shuffled_
  std::vector<std::vector<int64_t>> shuffled_;  // [sources][sequences]
};

}  // namespace peerage::train
