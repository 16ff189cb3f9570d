#include "tests/unit/engine/simulation/world.h"

#include <algorithm>

#include "tests/support/dice.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/unit/engine/simulation/answers.h"

namespace peerage {
namespace {

class WorldMaker {
 public:
  explicit WorldMaker(uint64_t seed) : dice_(seed) { world_.seed = seed; }

  World Make() && {
    SetLimits();
    if (world_.is_crowd) {
      ArriveAsCrowd();
    } else {
      ArriveOneByOne();
    }
    Disturb();
    if (dice_.OneIn(8)) DivideAmongWorkers();
    return std::move(world_);
  }

 private:
  void SetLimits() {
    world_.max_batch_tokens = dice_.OneOf({1, 2, 3, 7, 16, 64});
    world_.max_sequences = dice_.OneOf({1, 2, 3, 8});
    world_.block_tokens = dice_.OneOf({1, 2, 4, 8});
    world_.num_blocks = dice_.Between(4, dice_.OneOf({12, 60}));
    world_.queue = {.requests = dice_.OneOf({1, 4, 20, 40})};
    if (dice_.OneIn(4)) world_.queue.prompt_tokens = dice_.Between(1, 100);
    world_.tick = absl::Milliseconds(dice_.OneOf({1, 10, 100, 400, 1000}));
    if (dice_.OneIn(2)) world_.step = world_.tick / dice_.OneOf({1, 2, 4});
    if (dice_.OneIn(3)) world_.token = absl::Milliseconds(dice_.OneOf({1, 5}));
    world_.slow_reader_timeout = dice_.OneOf({1, 8, 30}) * world_.tick;
    world_.prefix_cache = !dice_.OneIn(4);
    world_.poisoned = dice_.OneIn(8);
    world_.is_crowd = dice_.OneIn(6);
    world_.optimistic = !world_.is_crowd && dice_.OneIn(2);
    if (world_.optimistic && dice_.OneIn(2)) MakeCramped();
    is_roomy_ = !world_.is_crowd && dice_.OneIn(12);
    if (is_roomy_) MakeRoomy();
    has_deadlines_ = dice_.OneIn(3);
    has_priorities_ = dice_.OneIn(3);
    num_tenants_ = is_roomy_ ? dice_.Between(2, 3) : dice_.OneOf({1, 1, 2, 3});
  }

  // Many run at the same time, and each may soon need one block more than there is.
  void MakeCramped() {
    world_.max_batch_tokens = 64;
    world_.max_sequences = 8;
    world_.block_tokens = dice_.OneOf({1, 2});
    world_.num_blocks = dice_.Between(20, 60);
  }

  // Enough for many at the same time, so that a tenth of it, which tenants leave to others, is
  // room for somebody; one tenant asks for more than its part.
  void MakeRoomy() {
    world_.max_batch_tokens = 64;
    world_.max_sequences = dice_.Between(10, 40);
    world_.block_tokens = dice_.OneOf({2, 4, 8});
    world_.num_blocks = dice_.Between(40, 160);
    world_.queue = {.requests = 40};
  }

  void ArriveOneByOne() {
    const int count = dice_.Between(1, is_roomy_ ? 48 : 32);
    const int longest_gap = dice_.OneOf({0, 1, 4, is_roomy_ ? 2 : 10});
    int turn = 0;
    for (int i = 0; i < count; ++i) {
      Arrival arrival{.turn = turn};
      if (dice_.OneIn(2)) {
        arrival.request = Generate();
      } else {
        arrival.request = Score();
      }
      Add(std::move(arrival));
      turn += dice_.Between(0, longest_gap);
    }
  }

  // Prompts and lengths differ by tenant; together, they are always as long.
  void ArriveAsCrowd() {
    num_tenants_ = dice_.Between(2, 3);
    const int count = dice_.Between(8, 40);
    const int positions = dice_.Between(4, 24);
    world_.queue = {.requests = count};
    world_.num_blocks = std::max(world_.num_blocks, positions);  // one fits, whatever a block is
    int prompts[3];
    for (int& prompt : prompts) prompt = dice_.Between(1, positions - 1);
    for (int i = 0; i < count; ++i) {
      const int tenant = dice_.Between(0, num_tenants_ - 1);
      GenerateRequest request{.prompt = Tokens(prompts[tenant], prompts[tenant]),
                              .sampling = {.seed = dice_.Bits()}};
      request.stopping.max_tokens = static_cast<uint32_t>(positions - prompts[tenant]);
      request.scheduling.tenant = std::string(tenant, 't');
      Add({.request = std::move(request)});
    }
  }

  void Add(Arrival arrival) {
    arrival.handle = world_.arrivals.size() + 1;
    if (has_deadlines_ && dice_.OneIn(2)) arrival.deadline_turns = dice_.Between(1, 60);
    if (has_deadlines_ && dice_.OneIn(3)) arrival.queue_deadline_turns = dice_.Between(1, 20);
    world_.arrivals.push_back(std::move(arrival));
  }

  std::vector<TokenId> Tokens(int low, int high) {
    std::vector<TokenId> tokens(dice_.Between(low, high));
    for (TokenId& token : tokens) token = dice_.Between(1, 27);
    return tokens;
  }

  // Often it begins as another one.
  std::vector<TokenId> Prompt(int low, int high) {
    std::vector<TokenId> tokens = Tokens(low, high);
    if (!prompts_.empty() && dice_.OneIn(2)) {
      const auto& other = prompts_[dice_.Between(0, static_cast<int>(prompts_.size()) - 1)];
      const size_t common = std::min({tokens.size(), other.size(), dice_.Bits() % 40});
      std::copy_n(other.begin(), common, tokens.begin());
    }
    prompts_.push_back(tokens);
    return tokens;
  }

  SchedulingParams Scheduling() {
    SchedulingParams scheduling;
    if (has_priorities_) scheduling.priority = dice_.OneOf({-20, -1, 0, 1, 20});
    const bool is_greedy_one = is_roomy_ && dice_.OneIn(2);
    scheduling.tenant = std::string(is_greedy_one ? 0 : dice_.Between(0, num_tenants_ - 1), 't');
    if (dice_.OneIn(3)) scheduling.cache_salt = "salt";
    return scheduling;
  }

  ExpertTraceLevel Trace() {
    return dice_.OneIn(4) ? ExpertTraceLevel::kFull : ExpertTraceLevel::kNone;
  }

  // Mostly few, so that few are expected.
  uint32_t MaxTokens() {
    return static_cast<uint32_t>(dice_.OneIn(4) ? dice_.Between(10, 30) : dice_.Between(1, 6));
  }

  GenerateRequest Generate() {
    GenerateRequest request{
        .prompt = Prompt(1, dice_.OneOf({2, 8, 20, 40})),
        .sampling = {.temperature = dice_.OneIn(3) ? 0.f : 1.f, .seed = dice_.Bits()},
        .candidates = static_cast<uint32_t>(dice_.OneOf({1, 1, 2, 3, 8})),
        .stopping = {.max_tokens = MaxTokens()},
        .alternatives = dice_.OneOf({-1, -1, 0, 3}),
        .prompt_logprobs = dice_.OneIn(3),
        .trace = Trace(),
        .scheduling = Scheduling()};
    if (!dice_.OneIn(4)) request.stopping.end_ids = {FakeTokenizer::kEos};
    if (dice_.OneIn(4)) request.stopping.stop_token_ids = {5, 6};
    if (dice_.OneIn(6)) {
      request.stopping.stop = {"a", "bc", "\xC3\xA9"};
    } else if (dice_.OneIn(4)) {
      request.stopping.min_tokens = request.sampling.min_tokens = dice_.Between(1, 10);
      request.sampling.masked_ids = {FakeTokenizer::kEos, 5, 6};
    } else if (request.candidates == 1 && dice_.OneIn(3)) {
      Resume(request, dice_.Between(1, static_cast<int>(request.stopping.max_tokens)));
    }
    return request;
  }

  // Puts what the same request has generated before into it, up to so many tokens.
  static void Resume(GenerateRequest& request, int tokens) {
    const StoppingRules& rules = request.stopping;
    const auto is_in = [](const std::vector<TokenId>& ids, TokenId token) {
      return std::find(ids.begin(), ids.end(), token) != ids.end();
    };
    uint64_t past = answers::Hash(answers::kNothing, request.prompt);
    for (int i = 0; i < tokens && !request.is_over; ++i) {
      const TokenId token = answers::Draw(past, request.sampling, 0, i);
      request.generated.push_back(token);
      past = answers::Mix(past, token);
      request.is_over = is_in(rules.end_ids, token) || is_in(rules.stop_token_ids, token) ||
                        request.generated.size() == rules.max_tokens;
    }
  }

  ScoreRequest Score() {
    ScoreRequest request{.context = Prompt(0, dice_.OneOf({0, 1, 8, 40})),
                         .alternatives = dice_.OneOf({0, 0, 2}),
                         .trace = Trace(),
                         .scheduling = Scheduling()};
    const int continuations = dice_.Between(1, 10);
    const int longest = dice_.OneOf({1, 2, 12});
    for (int i = 0; i < continuations; ++i) request.continuations.push_back(Tokens(1, longest));
    return request;
  }

  void Disturb() {
    using Kind = Disturbance::Kind;
    const int last = world_.arrivals.back().turn + 40;
    if (dice_.OneIn(2)) DisturbEach(Kind::kCancel, dice_.OneOf({2, 5}), 30);
    if (dice_.OneIn(3)) {
      DisturbEach(Kind::kReaderFallsBehind, 2, 20);
      DisturbEach(Kind::kReaderCatchesUp, 2, 40);
    }
    for (Kind kind : {Kind::kStepFails, Kind::kStepThrows}) {
      if (!dice_.OneIn(8)) continue;
      for (int turn = 0; turn < last; turn += dice_.Between(1, 50)) {
        world_.disturbances.push_back({.turn = turn, .kind = kind});
      }
    }
    if (dice_.OneIn(40)) {
      world_.disturbances.push_back({.turn = dice_.Between(0, last),
                                     .kind = dice_.OneIn(2) ? Kind::kModelIsLost : Kind::kStop});
    }
    SortDisturbances();
  }

  void SortDisturbances() {
    std::stable_sort(world_.disturbances.begin(), world_.disturbances.end(),
                     [](const auto& a, const auto& b) { return a.turn < b.turn; });
  }

  // Everything happens at the beginning of a turn, which all workers take.
  void DivideAmongWorkers() {
    using Kind = Disturbance::Kind;
    world_.workers = dice_.Between(1, 3);
    world_.step = world_.token = absl::ZeroDuration();
    world_.tick = std::max(world_.tick, absl::Milliseconds(10));
    const int last = world_.arrivals.back().turn + 40;
    for (int faults = dice_.Between(0, 6); faults > 0; --faults) {
      const Kind kind = dice_.OneOf({Kind::kStepFails, Kind::kStepThrows, Kind::kStepHangs,
                                     Kind::kStepHangs, Kind::kLoadFails});
      world_.disturbances.push_back({.turn = dice_.Between(0, last), .kind = kind});
    }
    for (const Kind kind : {Kind::kModelIsLost, Kind::kDeviceIsGone}) {
      if (dice_.OneIn(8)) {
        world_.disturbances.push_back({.turn = dice_.Between(0, last), .kind = kind});
      }
    }
    for (Disturbance& disturbance : world_.disturbances) {
      disturbance.worker = dice_.Between(0, world_.workers - 1);
    }
    SortDisturbances();
  }

  void DisturbEach(Disturbance::Kind kind, int one_in, int longest_after) {
    for (const Arrival& arrival : world_.arrivals) {
      if (!dice_.OneIn(one_in)) continue;
      world_.disturbances.push_back({.turn = arrival.turn + dice_.Between(0, longest_after),
                                     .kind = kind,
                                     .handle = arrival.handle});
    }
  }

  Dice dice_;
  World world_;
  bool has_deadlines_ = false;
  bool has_priorities_ = false;
  bool is_roomy_ = false;
  int num_tenants_ = 1;
  std::vector<std::vector<TokenId>> prompts_;
};

}  // namespace

const SchedulingParams& Arrival::scheduling() const {
  return std::visit([](const auto& r) -> const SchedulingParams& { return r.scheduling; }, request);
}

World MakeWorld(uint64_t seed) { return WorldMaker(seed).Make(); }

}  // namespace peerage
