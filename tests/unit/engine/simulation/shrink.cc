#include "tests/unit/engine/simulation/shrink.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

namespace peerage {
namespace {

class Shrinker {
 public:
  Shrinker(World world, const Trial& fails) : world_(std::move(world)), fails_(fails) {}

  World Shrink() && {
    while (Drop(&World::arrivals) || Drop(&World::disturbances) || ShortenRequests() ||
           ComeSooner() || Simplify()) {
    }
    return std::move(world_);
  }

 private:
  // Whether the world fails when this is done to it; if so, it stays done.
  template <typename Change>
  bool Try(Change change) {
    World smaller = world_;
    if (!change(smaller) || fails_(smaller).empty()) return false;
    world_ = std::move(smaller);
    return true;
  }

  // Halves, quarters, ... single ones.
  template <typename T>
  bool Drop(std::vector<T> World::*member) {
    bool dropped = false;
    for (size_t count = (world_.*member).size(); count > 0; count /= 2) {
      for (size_t first = 0; first + count <= (world_.*member).size();) {
        const bool gone = Try([&](World& world) {
          std::vector<T>& all = world.*member;
          const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
          all.erase(begin, begin + static_cast<std::ptrdiff_t>(count));
          return true;
        });
        dropped |= gone;
        if (!gone) first += count;
      }
    }
    return dropped;
  }

  bool ShortenRequests() {
    bool shorter = false;
    for (size_t i = 0; i < world_.arrivals.size(); ++i) {
      for (auto change : {&Halve, &Shorten, &DropCandidate, &MakePlain, &ForgetDeadlines}) {
        while (Try([&](World& world) { return change(world.arrivals[i]); })) shorter = true;
      }
    }
    return shorter;
  }

  bool Simplify() {
    bool simpler = Try([](World& world) { return std::exchange(world.optimistic, false); });
    simpler |= Try([](World& world) { return world.workers > 1 && --world.workers > 0; });
    simpler |= Try([](World& world) { return std::exchange(world.prefix_cache, false); });
    simpler |= Try([](World& world) { return std::exchange(world.poisoned, false); });
    return simpler;
  }

  bool ComeSooner() {
    bool sooner = false;
    for (size_t i = 0; i < world_.arrivals.size(); ++i) {
      const int before = i == 0 ? 0 : world_.arrivals[i - 1].turn;
      sooner |= Try(
          [&](World& world) { return std::exchange(world.arrivals[i].turn, before) != before; });
    }
    return sooner;
  }

  // What follows says whether it has changed anything.
  template <typename T>
  static bool Cut(std::vector<T>& list, size_t size, size_t least) {
    size = std::max(size, least);
    if (size >= list.size()) return false;
    list.resize(size);
    return true;
  }

  static bool CutTo(Arrival& arrival, size_t (*shorter)(size_t)) {
    if (auto* generate = std::get_if<GenerateRequest>(&arrival.request)) {
      if (!generate->generated.empty()) return false;  // it follows from the prompt
      const auto most = static_cast<uint32_t>(shorter(generate->stopping.max_tokens));
      const bool fewer = most >= 1 && most < generate->stopping.max_tokens;
      if (fewer) generate->stopping.max_tokens = most;
      return Cut(generate->prompt, shorter(generate->prompt.size()), 1) || fewer;
    }
    auto& score = std::get<ScoreRequest>(arrival.request);
    bool cut = Cut(score.context, shorter(score.context.size()), 0);
    cut |= Cut(score.continuations, shorter(score.continuations.size()), 1);
    for (auto& tokens : score.continuations) cut |= Cut(tokens, shorter(tokens.size()), 1);
    return cut;
  }
  static bool Halve(Arrival& arrival) {
    return CutTo(arrival, [](size_t size) { return size / 2; });
  }
  static bool Shorten(Arrival& arrival) {
    return CutTo(arrival, [](size_t size) { return size - (size > 0); });
  }

  static bool DropCandidate(Arrival& arrival) {
    auto* generate = std::get_if<GenerateRequest>(&arrival.request);
    if (generate == nullptr || generate->candidates == 1) return false;
    --generate->candidates;
    return true;
  }

  static bool MakePlain(Arrival& arrival) {
    return std::visit(
        [](auto& request) {
          bool changed =
              std::exchange(request.trace, ExpertTraceLevel::kNone) != ExpertTraceLevel::kNone;
          changed |= std::exchange(request.scheduling.priority, 0) != 0;
          changed |= !std::exchange(request.scheduling.cache_salt, "").empty();
          const auto plain = std::min(request.alternatives, 0);
          return (std::exchange(request.alternatives, plain) != plain) || changed;
        },
        arrival.request);
  }

  static bool ForgetDeadlines(Arrival& arrival) {
    const bool had = arrival.deadline_turns > 0 || arrival.queue_deadline_turns > 0;
    arrival.deadline_turns = arrival.queue_deadline_turns = 0;
    return had;
  }

  World world_;
  const Trial& fails_;
};

}  // namespace

World Shrink(World world, const Trial& fails) { return Shrinker(std::move(world), fails).Shrink(); }

}  // namespace peerage
