// Random workloads against the invariants that everyone relies on: one seed makes one small world
// of extreme parameters, arrivals, cancellations, deadlines, slow readers and model faults, driven
// turn by turn through the real inbox, scheduler and worker on a fake clock and a fake model.

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/status_macros.h"
#include "server/engine/admission.h"
#include "server/engine/generate_delivery.h"
#include "server/engine/inbox.h"
#include "server/engine/score_delivery.h"
#include "server/engine/worker.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_model.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/support/recording_sink.h"
#include "tests/support/reference_answers.h"

namespace peerage {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(10);
constexpr absl::Duration kSlowReaderTimeout = absl::Milliseconds(80);
constexpr TokenId kPoison = 26;
constexpr ExpertLayer kExperts = {.num_experts = 64, .heads = 1, .top_k = 2};

// The last step, and the sums of what else was told.
class SummingObserver final : public EngineObserver {
 public:
  void OnStep(const StepEvent& event) override { step = event; }
  void OnTokens(const TokensEvent& event) override {
    tokens.prompt += event.prompt;
    tokens.generated += event.generated;
    tokens.scored += event.scored;
    tokens.prefix_hit += event.prefix_hit;
    tokens.recomputed += event.recomputed;
    tokens.preemptions += event.preemptions;
    first_tokens += event.first_token_seconds.size();
    later_tokens += event.inter_token_seconds.size();
  }
  void OnRequestDone(const RequestEvent& event) override {
    ++requests_done;
    completion_tokens += event.completion_tokens;
    candidates += event.unfinished_candidates;
    for (const uint32_t finished : event.finished_candidates) candidates += finished;
  }

  StepEvent step;
  TokensEvent tokens;
  size_t first_tokens = 0;
  size_t later_tokens = 0;
  int requests_done = 0;
  int64_t completion_tokens = 0;
  size_t candidates = 0;
};

// What the worlds went through, so that a quiet simulation does not pass for a thorough one.
struct Tally {
  uint64_t steps = 0;
  uint64_t full_steps = 0;       // that took the whole budget
  uint64_t shared_blocks = 0;    // counted after each step
  uint64_t extra_sequences = 0;  // likewise
  int64_t cached_tokens = 0;
  int64_t preemptions = 0;
  int64_t recomputed_tokens = 0;
  std::map<absl::StatusCode, uint64_t> endings;
};

struct Client {
  RequestHandle handle = 0;
  std::variant<GenerateRequest, ScoreRequest> request;
  std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
  TaskOrder order;
  RequestNeeds needs;
  bool computes_nothing = false;
  bool cancelled = false;
  bool was_slow = false;
  bool seen_started = false;
  bool ended = false;

  const SchedulingParams& scheduling() const {
    return std::visit([](const auto& r) -> const SchedulingParams& { return r.scheduling; },
                      request);
  }
};

class Simulation {
 public:
  Simulation(uint64_t seed, Tally* tally)
      : tally_(*tally),
        random_(seed),
        max_batch_tokens_(OneOf({1, 2, 3, 7, 64})),
        max_sequences_(OneOf({1, 2, 3, 8})),
        capacity_{.model = {.block_tokens = OneOf({1, 2, 4, 8}),
                            .num_blocks = Between(4, OneOf({12, 60})),
                            .num_slots = max_sequences_,
                            .max_step_tokens = 64},
                  .context_length = 64,
                  .max_sequences = max_sequences_},
        model_({.capacity = capacity_.model, .expert_layers = {kExperts}}),
        prefix_cache_(!OneIn(4)),
        optimistic_(OneIn(2)),
        inbox_({.requests = Between(1, 8)}, &clock_),
        worker_({.model = &model_, .clock = &clock_, .observer = &observer_, .inbox = &inbox_},
                {.max_batch_tokens = max_batch_tokens_,
                 .max_sequences = max_sequences_,
                 .num_blocks = capacity_.model.num_blocks,
                 .block_tokens = capacity_.model.block_tokens,
                 .slow_reader_timeout = kSlowReaderTimeout,
                 .prefix_cache = prefix_cache_,
                 .admission = optimistic_ ? Admission::kOptimistic : Admission::kReserve}),
        cancels_(OneIn(2)),
        deadlines_(OneIn(3)),
        slow_readers_(OneIn(3)),
        step_failures_(OneIn(6)),
        poison_(OneIn(6)),
        priorities_(OneIn(3)),
        tenants_(OneIn(3)) {
    if (poison_) model_.PoisonToken(kPoison);
  }

  void Run() {
    const int arrivals = Between(1, 30);
    for (int turn = 0; turn < 4'000; ++turn) {
      if (static_cast<int>(clients_.size()) < arrivals && OneIn(2)) Arrive();
      Disturb();
      Turn();
      if (::testing::Test::HasFailure()) return;
      if (static_cast<int>(clients_.size()) == arrivals && AllEnded()) break;
      clock_.Advance(kTick);
    }
    ASSERT_TRUE(AllEnded()) << "a request never ends";
    EXPECT_EQ(worker_.status().kv_blocks_free, capacity_.model.num_blocks);
    EXPECT_EQ(model_.num_open_slots(), 0);
    EXPECT_EQ(observer_.requests_done, admitted_);
    EXPECT_EQ(worker_.scheduler().reservations().blocks().num_free(), capacity_.model.num_blocks);
    EXPECT_EQ(worker_.scheduler().reservations().num_available_sequences(), max_sequences_);
    CheckConservation();
  }

 private:
  struct Progress {
    int32_t computed = 0;
    int turns_without = 0;
  };

  int Between(int low, int high) { return std::uniform_int_distribution<>(low, high)(random_); }
  bool OneIn(int n) { return Between(1, n) == 1; }
  int OneOf(std::vector<int> values) {
    return values[Between(0, static_cast<int>(values.size()) - 1)];
  }

  std::vector<TokenId> Tokens(int low, int high) {
    std::vector<TokenId> tokens(Between(low, high));
    for (TokenId& token : tokens) token = Between(1, 27);
    return tokens;
  }

  // Often the beginning of what somebody else asked.
  std::vector<TokenId> Prompt(int low, int high) {
    std::vector<TokenId> tokens = Tokens(low, high);
    if (!prompts_.empty() && OneIn(2)) {
      const std::vector<TokenId>& other =
          prompts_[Between(0, static_cast<int>(prompts_.size()) - 1)];
      const size_t common = std::min<size_t>(Between(2, 40), std::min(tokens.size(), other.size()));
      std::copy_n(other.begin(), common, tokens.begin());
    }
    prompts_.push_back(tokens);
    return tokens;
  }

  SchedulingParams Scheduling() {
    SchedulingParams scheduling{.arrival = clock_.Now()};
    if (priorities_) scheduling.priority = Between(-1, 1);
    if (tenants_) scheduling.tenant = std::string(Between(0, 2), 't');
    if (OneIn(3)) scheduling.cache_salt = "salt";
    if (deadlines_ && OneIn(2)) scheduling.deadline = clock_.Now() + Between(1, 40) * kTick;
    if (deadlines_ && OneIn(3)) scheduling.queue_deadline = clock_.Now() + Between(1, 9) * kTick;
    return scheduling;
  }

  GenerateRequest Generate() {
    GenerateRequest request{.prompt = Prompt(1, OneOf({1, 4, 8, 40})),
                            .sampling = {.temperature = OneIn(3) ? 0.f : 1.f,
                                         .seed = static_cast<uint64_t>(Between(0, 1 << 20))},
                            .candidates = static_cast<uint32_t>(OneOf({1, 1, 2, 3, 8})),
                            .stopping = {.max_tokens = static_cast<uint32_t>(
                                             OneIn(4) ? Between(10, 30) : Between(1, 6)),
                                         .end_ids = {FakeTokenizer::kEos}},
                            .alternatives = OneOf({-1, 0, 3}),
                            .prompt_logprobs = OneIn(3),
                            .trace = OneIn(3) ? ExpertTraceLevel::kFull : ExpertTraceLevel::kNone,
                            .scheduling = Scheduling()};
    if (OneIn(3)) request.stopping.stop = {"a", "bc", "\xC3\xA9"};
    if (OneIn(4)) request.stopping.stop_token_ids = {5, 6};
    return request;
  }

  ScoreRequest Score() {
    ScoreRequest request{.context = Prompt(0, OneOf({0, 1, 8, 40})),
                         .alternatives = OneOf({0, 2}),
                         .trace = OneIn(3) ? ExpertTraceLevel::kFull : ExpertTraceLevel::kNone,
                         .scheduling = Scheduling()};
    const int continuations = Between(1, 10);
    const int longest = OneOf({1, 2, 12});
    for (int i = 0; i < continuations; ++i) request.continuations.push_back(Tokens(1, longest));
    return request;
  }

  void Arrive() {
    Client client{.handle = clients_.size() + 1};
    absl::Status status;
    if (OneIn(2)) {
      status = Submit(client, Generate());
    } else {
      status = Submit(client, Score());
    }
    client.ended = !status.ok();
    admitted_ += status.ok();
    clients_.push_back(std::move(client));
  }

  template <typename Request>
  absl::Status Submit(Client& client, Request request) {
    using RequestDelivery = std::conditional_t<std::is_same_v<Request, GenerateRequest>,
                                               GenerateDelivery, ScoreDelivery>;
    client.request = request;
    auto delivery = std::make_unique<RequestDelivery>(
        std::move(request), client.sink,
        ModelFacts{&tokenizer_, model_.description().expert_layers});
    RETURN_IF_ERROR(CheckFits(delivery->request(), capacity_));
    auto task = std::make_unique<Task>(client.handle, client.scheduling(),
                                       WorkOf(delivery->request()), capacity_.model.block_tokens);
    client.computes_nothing = task->done();
    client.order = task->order;
    client.needs = task->needs;
    RETURN_IF_ERROR(CheckFits(task->needs, capacity_));
    task->delivery = std::move(delivery);
    return inbox_.Add(std::move(task));
  }

  void Disturb() {
    if (step_failures_ && OneIn(20)) {
      model_.FailNextStep(absl::UnknownError("injected"));
      failure_injected_ = true;
    }
    for (Client& client : clients_) {
      if (client.ended) continue;
      if (cancels_ && OneIn(60)) {
        inbox_.Cancel(client.handle);
        client.cancelled = true;
      }
      if (slow_readers_ && OneIn(10)) {
        const bool has_room = OneIn(2);
        client.sink->set_has_room(has_room);
        client.was_slow |= !has_room;
      }
    }
  }

  void Turn() {
    const bool stepped = worker_.Turn();
    CheckOrder();
    for (Client& client : clients_) CheckEnding(client);
    CheckResources();
    if (stepped) {
      CheckStep();
    } else {
      CheckNothingToDo();
    }
  }

  // Nobody passes a request that was due before it and needs no more.
  void CheckOrder() {
    for (Client& client : clients_) {
      if (client.seen_started || !client.sink->record().started) continue;
      client.seen_started = true;
      for (const Client& other : clients_) {
        const bool waits = !other.ended && !other.sink->record().started && !other.sink->done() &&
                           other.sink->HasRoom();
        // What they ask is what was expected when they came.
        if (!waits || client.computes_nothing || optimistic_) continue;
        const bool came_first = other.handle < client.handle && other.order < client.order &&
                                other.scheduling().tenant == client.scheduling().tenant &&
                                other.request.index() == client.request.index();
        const bool needs_no_more = other.needs.blocks <= client.needs.blocks &&
                                   other.needs.sequences <= client.needs.sequences;
        EXPECT_FALSE(came_first && needs_no_more)
            << "request " << client.handle << " passed " << other.handle;
      }
    }
  }

  void CheckEnding(Client& client) {
    if (client.ended) return;
    const bool late = clock_.Now() >= client.scheduling().deadline;
    if (!client.sink->done()) {
      EXPECT_FALSE(client.cancelled) << "not cancelled within one step";
      EXPECT_FALSE(late) << "not ended at its deadline";
      return;
    }
    client.ended = true;
    ++tally_.endings[client.sink->record().status->code()];
    const RecordingSink::Record record = client.sink->record();
    switch (record.status->code()) {
      case absl::StatusCode::kOk:
        break;
      case absl::StatusCode::kCancelled:
        EXPECT_TRUE(client.cancelled);
        break;
      case absl::StatusCode::kDeadlineExceeded:
        EXPECT_TRUE(late || client.cancelled ||  // near its deadline: deadline.h
                    (!record.started && clock_.Now() >= client.scheduling().queue_deadline));
        break;
      case absl::StatusCode::kResourceExhausted:
        EXPECT_TRUE(client.was_slow);
        break;
      case absl::StatusCode::kInternal:
        EXPECT_TRUE(failure_injected_ || poison_);
        break;
      default:
        ADD_FAILURE() << *record.status;
    }
    CheckAnswers(client, record);
  }

  // What the observer was told adds up to what the clients got.
  void CheckConservation() {
    int64_t generated = 0, scored = 0, whole_prompts = 0, prompts = 0;
    size_t candidates = 0, with_tokens = 0;
    for (const Client& client : clients_) {
      const RecordingSink::Record record = client.sink->record();
      if (!record.status) continue;  // refused
      size_t prompt = 0;
      if (const auto* generate = std::get_if<GenerateRequest>(&client.request)) {
        prompt = generate->prompt.size();
        candidates += generate->candidates;
        for (const auto& [i, candidate] : record.candidates) {
          generated += static_cast<int64_t>(candidate.tokens.size());
          with_tokens += !candidate.tokens.empty();
        }
      } else {
        prompt = std::get<ScoreRequest>(client.request).context.size();
        for (const auto& [i, tokens] : record.scores) scored += static_cast<int64_t>(tokens.size());
      }
      prompts += static_cast<int64_t>(prompt);
      if (record.status->ok()) whole_prompts += static_cast<int64_t>(prompt);
    }
    const TokensEvent& told = observer_.tokens;
    EXPECT_EQ(told.generated, generated);
    EXPECT_EQ(told.scored, scored);
    EXPECT_GE(told.prompt + told.prefix_hit, whole_prompts);
    EXPECT_LE(told.prompt + told.prefix_hit, prompts);
    EXPECT_TRUE(prefix_cache_ || told.prefix_hit == 0);
    EXPECT_TRUE(optimistic_ || (told.preemptions == 0 && told.recomputed == 0));
    tally_.cached_tokens += told.prefix_hit;
    tally_.preemptions += told.preemptions;
    tally_.recomputed_tokens += told.recomputed;
    EXPECT_EQ(observer_.candidates, candidates);
    EXPECT_EQ(static_cast<int64_t>(observer_.later_tokens + with_tokens), generated);
    EXPECT_GE(observer_.completion_tokens, generated + scored);
    const WorkerStatus status = worker_.status();
    EXPECT_EQ(status.requests_parked, 0);
    EXPECT_EQ(status.front_lacks, Lack::kNothing);
    EXPECT_EQ(status.kv_blocks_free, worker_.scheduler().reservations().blocks().num_blocks());
  }

  // Everything delivered is a prefix of the reference; all of it when the status is OK.
  void CheckAnswers(const Client& client, const RecordingSink::Record& record) {
    const bool complete = record.status->ok();
    if (const auto* generate = std::get_if<GenerateRequest>(&client.request)) {
      for (uint32_t i = 0; i < generate->candidates; ++i) {
        const auto found = record.candidates.find(i);
        if (found != record.candidates.end()) {
          CheckCandidate(*generate, i, found->second);
        }
        EXPECT_TRUE(!complete || (found != record.candidates.end() && found->second.finish));
      }
      if (generate->prompt_logprobs && complete) {
        EXPECT_TRUE(record.prompt_logprobs == PromptLogprobsAlone(*generate));
      }
      if (generate->trace == ExpertTraceLevel::kFull && complete) {
        CheckTrace(*record.prompt_trace, generate->prompt, record.cached_tokens);
        for (const auto& [i, candidate] : record.candidates) {
          const std::vector<TokenId>& tokens = candidate.tokens;
          CheckTrace(candidate.finish->trace, {tokens.begin(), tokens.end() - 1}, 0,
                     generate->prompt.size());
        }
      }
    } else {
      const auto& score = std::get<ScoreRequest>(client.request);
      if (score.trace == ExpertTraceLevel::kFull && complete) {
        CheckTrace(*record.prompt_trace, score.context, record.cached_tokens);
        for (const auto& [i, trace] : record.score_traces) {
          const std::vector<TokenId>& tokens = score.continuations[i];
          CheckTrace(trace, {tokens.begin(), tokens.end() - 1}, 0, score.context.size());
        }
      }
      const auto expected = ScoreAlone(score);
      for (const auto& [i, tokens] : record.scores) EXPECT_TRUE(tokens == expected[i]);
      EXPECT_TRUE(!complete || record.scores.size() == expected.size());
    }
  }

  // The picks of exactly these tokens, in order, less those that were cached.
  static void CheckTrace(const ExpertTrace& trace, const std::vector<TokenId>& tokens,
                         size_t cached, size_t first_position = 0) {
    ASSERT_EQ(trace.tokens, tokens.size() - cached);
    std::vector<uint32_t> ids;
    for (size_t i = cached; i < tokens.size(); ++i) {
      const auto position = static_cast<int32_t>(first_position + i);
      for (uint32_t id : FakeModel::PicksOf(kExperts, tokens[i], position).ids) ids.push_back(id);
    }
    EXPECT_EQ(trace.layers[0].ids(), absl::MakeConstSpan(ids));
  }

  void CheckCandidate(const GenerateRequest& request, uint32_t index,
                      const RecordingSink::Candidate& candidate) {
    const ReferenceCandidate expected = GenerateAlone(request, index, tokenizer_);
    ASSERT_LE(candidate.tokens.size(), expected.tokens.size());
    EXPECT_TRUE(
        std::equal(candidate.tokens.begin(), candidate.tokens.end(), expected.tokens.begin()))
        << "candidate " << index << " went astray";
    if (!candidate.finish) return;
    EXPECT_EQ(candidate.tokens.size(), expected.tokens.size());
    EXPECT_EQ(candidate.finish->completion_tokens, expected.tokens.size());
    EXPECT_TRUE(candidate.logprobs == expected.logprobs);
    EXPECT_EQ(candidate.text, expected.text);
    EXPECT_EQ(candidate.finish->reason, expected.reason);
    EXPECT_EQ(candidate.finish->stop, expected.stop);
  }

  // Free and held blocks are all blocks, nobody else is promised what is free; decodes get their
  // turns.
  void CheckResources() {
    std::map<BlockId, int> holders;
    const Scheduler& scheduler = worker_.scheduler();
    int64_t promised = 0, sequences = 0;
    const auto check = [&](const Sequence& sequence) {
      promised += sequence.promised_blocks;
      sequences += sequence.slot >= 0;
      tally_.extra_sequences += sequence.is_extra;
      for (BlockId block : sequence.blocks) tally_.shared_blocks += ++holders[block] > 1;
      EXPECT_GE(static_cast<int>(sequence.blocks.size()) * capacity_.model.block_tokens,
                sequence.computed);
      CheckTurns(sequence);
    };
    for (const auto& task : scheduler.running()) {
      promised += task->promised_blocks;
      sequences += task->promised_sequences;
      if (task->trunk != nullptr) check(*task->trunk);
      for (const auto& sequence : task->sequences) check(*sequence);
    }
    for (const auto& [block, count] : holders) {
      EXPECT_EQ(scheduler.reservations().blocks().holders(block), count);
      promised += scheduler.reservations().blocks().adopters(block);
    }
    EXPECT_EQ(static_cast<int>(holders.size()) + scheduler.reservations().blocks().num_free(),
              capacity_.model.num_blocks);
    EXPECT_EQ(scheduler.reservations().blocks().num_available(),
              scheduler.reservations().blocks().num_free() - promised);
    EXPECT_GE(scheduler.reservations().blocks().num_available(), 0);
    EXPECT_EQ(scheduler.reservations().num_available_sequences(), max_sequences_ - sequences);
    EXPECT_GE(scheduler.reservations().num_available_sequences(), 0);
  }

  void CheckTurns(const Sequence& sequence) {
    Progress& progress = progress_[&sequence];
    const bool waits = sequence.decodes() && !sequence.task->parked();
    if (waits && sequence.computed == progress.computed) {
      EXPECT_LE(++progress.turns_without, 2 * max_sequences_ + 2) << "a decode starves";
    } else {
      progress = {.computed = sequence.computed};
    }
  }

  void CheckStep() {
    const StepEvent& step = observer_.step;
    EXPECT_GE(step.prefill_tokens + step.decode_tokens, 1);
    EXPECT_LE(step.prefill_tokens + step.decode_tokens, max_batch_tokens_);
    EXPECT_LE(step.sequences, max_sequences_);
    ++tally_.steps;
    tally_.full_steps += step.prefill_tokens + step.decode_tokens == max_batch_tokens_;
    // A prefill that waited through a step without any is served by the next one.
    const bool prefill_waits = PrefillWaits();
    EXPECT_FALSE(step.prefill_tokens == 0 && prefill_had_nothing_ && prefill_waits)
        << "prefill starves";
    prefill_had_nothing_ = step.prefill_tokens == 0 && prefill_waits;
  }

  bool PrefillWaits() {
    for (const auto& task : worker_.scheduler().running()) {
      if (task->parked()) continue;
      if (task->trunk != nullptr && task->trunk->pending() > 0) return true;
      for (const auto& sequence : task->sequences) {
        if (!sequence->decodes() && sequence->pending() > 0) return true;
      }
    }
    return false;
  }

  void CheckNothingToDo() {
    prefill_had_nothing_ = false;
    const auto running = worker_.scheduler().running();
    for (const auto& task : running) EXPECT_TRUE(task->parked()) << "idle beside work";
    EXPECT_TRUE(!running.empty() || inbox_.num_waiting() == 0) << "nothing runs, yet one waits";
  }

  bool AllEnded() const {
    return std::all_of(clients_.begin(), clients_.end(), [](const Client& c) { return c.ended; });
  }

  Tally& tally_;
  std::mt19937_64 random_;
  const int max_batch_tokens_;
  const int max_sequences_;
  const EngineCapacity capacity_;
  FakeClock clock_;
  FakeTokenizer tokenizer_;
  SummingObserver observer_;
  FakeModel model_;
  const bool prefix_cache_;
  const bool optimistic_;
  Inbox inbox_;
  Worker worker_;

  const bool cancels_;
  const bool deadlines_;
  const bool slow_readers_;
  const bool step_failures_;
  const bool poison_;
  const bool priorities_;
  const bool tenants_;

  std::vector<Client> clients_;
  std::vector<std::vector<TokenId>> prompts_;
  int admitted_ = 0;
  bool failure_injected_ = false;
  bool prefill_had_nothing_ = false;
  std::map<const Sequence*, Progress> progress_;
};

// So that a failed assertion, which ends the process, still names its seed.
volatile uint64_t current_seed = 0;

void PrintSeed(int) {
  std::fprintf(stderr, "PEERAGE_SIMULATION_SEED=%llu\n",
               static_cast<unsigned long long>(current_seed));
}

// PEERAGE_SIMULATION_SEED replays one seed, PEERAGE_SIMULATION_SEEDS runs that many.
TEST(SchedulerSimulationTest, KeepsItsInvariantsInRandomWorlds) {
  const char* replay = std::getenv("PEERAGE_SIMULATION_SEED");
  const char* count = std::getenv("PEERAGE_SIMULATION_SEEDS");
  const uint64_t first = replay == nullptr ? 1 : std::strtoull(replay, nullptr, 10);
  const uint64_t seeds = count == nullptr ? 20'000 : std::strtoull(count, nullptr, 10);
  std::signal(SIGABRT, PrintSeed);
  Tally tally;
  for (uint64_t seed = first; seed < first + (replay == nullptr ? seeds : 1); ++seed) {
    SCOPED_TRACE("PEERAGE_SIMULATION_SEED=" + std::to_string(seed));
    current_seed = seed;
    Simulation(seed, &tally).Run();
    if (HasFailure()) return;
  }
  if (replay != nullptr) return;
  EXPECT_GT(tally.full_steps, tally.steps / 4);
  EXPECT_GT(tally.steps, 10 * seeds);
  EXPECT_GT(tally.shared_blocks, seeds);
  EXPECT_GT(tally.extra_sequences, seeds / 8);
  EXPECT_GT(tally.cached_tokens, static_cast<int64_t>(seeds) / 4);
  EXPECT_GT(tally.preemptions, static_cast<int64_t>(seeds) / 400);
  EXPECT_GT(tally.recomputed_tokens, static_cast<int64_t>(seeds) / 100);
  for (absl::StatusCode code :
       {absl::StatusCode::kOk, absl::StatusCode::kCancelled, absl::StatusCode::kDeadlineExceeded,
        absl::StatusCode::kResourceExhausted, absl::StatusCode::kInternal}) {
    EXPECT_GT(tally.endings[code], seeds / 8) << absl::StatusCodeToString(code);
  }
}

}  // namespace
}  // namespace peerage
