#include "server/pages/playground.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/tokenizer/detokenizer.h"
#include "server/pages/error_response.h"
#include "server/pages/playground_events.h"

namespace peerage {
namespace {

using nlohmann::ordered_json;

// How long a stream is still while nothing happens: then its reader is looked after.
constexpr absl::Duration kPatience = absl::Milliseconds(100);

absl::Status CheckFitsThePage(const GenerateRequest& request) {
  if (request.candidates == 1 && request.alternatives < 0 && !request.prompt_logprobs) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("the playground has one candidate and no log-probabilities");
}

// The first event: what the request became of what was sent.
std::string DescribeRequest(const GenerateRequest& request, const Tokenizer& tokenizer) {
  Detokenizer detokenizer(&tokenizer, /*include_special_tokens=*/true);
  ordered_json prompt = ordered_json::array();
  for (const TokenId token : request.prompt) {
    prompt.push_back({{"id", token}, {"text", detokenizer.Append(token)}});
  }
  const ordered_json event = {{"prompt", std::move(prompt)},
                              {"seed", absl::StrCat(request.sampling.seed)},
                              {"max_tokens", request.stopping.max_tokens}};
  return event.dump() + "\n";
}

// A request that runs, as lines. Gone means that nobody reads on.
class EventStream final : public AdminStream {
 public:
  EventStream(Engine* engine, std::shared_ptr<PlaygroundEvents> events, RequestHandle handle,
              std::string first, std::shared_ptr<void> place)
      : engine_(*engine),
        events_(std::move(events)),
        handle_(handle),
        place_(std::move(place)),
        first_(std::move(first)) {}

  // The engine takes it as it comes when the request has ended already.
  ~EventStream() override { engine_.Cancel(handle_); }

  std::optional<std::string> Next() override {
    if (!first_.empty()) return std::exchange(first_, {});
    if (ended_) {
      place_.reset();  // before the reader sees the end: it may ask again at once
      return std::nullopt;
    }
    const PlaygroundEvents::Taken taken = events_->Take(kPatience);
    if (taken.has_room_again) engine_.Wake();
    std::string lines;
    for (const PlaygroundEvent& event : taken.events) {
      lines += ToLine(event);
      ended_ = ended_ || std::holds_alternative<absl::Status>(event);
    }
    return lines;
  }

 private:
  Engine& engine_;
  const std::shared_ptr<PlaygroundEvents> events_;
  const RequestHandle handle_;
  std::shared_ptr<void> place_;
  std::string first_;
  bool ended_ = false;
};

}  // namespace

void Playground::AddTo(AdminServer& server) {
  server.HandlePost("/playground/generate",
                    [this](const AdminRequest& request) { return Generate(request); });
}

AdminResponse Playground::Generate(const AdminRequest& request) {
  absl::StatusOr<AdminResponse> response = Start(request.body);
  return response.ok() ? *std::move(response) : ErrorResponse(response.status());
}

absl::StatusOr<AdminResponse> Playground::Start(absl::string_view json) {
  Place place = TakePlace();
  if (place == nullptr) {
    return absl::UnavailableError("the playground is answering somebody else; try again");
  }
  ASSIGN_OR_RETURN(GenerateRequest request, read_(json));
  RETURN_IF_ERROR(CheckFitsThePage(request));
  // Every token's experts are to be seen, so none may come from the prefix cache.
  if (request.trace == ExpertTraceLevel::kFull) {
    request.scheduling.cache_salt = absl::StrCat("playground ", request.origin.request_id);
  }
  std::string first = DescribeRequest(request, tokenizer_);
  const auto events = std::make_shared<PlaygroundEvents>();
  ASSIGN_OR_RETURN(const RequestHandle handle, engine_.Submit(std::move(request), events));
  return AdminResponse{.content_type = "application/x-ndjson",
                       .headers = {{"Cache-Control", "no-store"}},
                       .stream = std::make_shared<EventStream>(&engine_, events, handle,
                                                               std::move(first), std::move(place))};
}

Playground::Place Playground::TakePlace() {
  absl::MutexLock lock(&mu_);
  if (streams_ == AdminServer::kMaxStreams) return nullptr;
  ++streams_;
  return Place(this, [](Playground* playground) { playground->LeavePlace(); });
}

void Playground::LeavePlace() {
  absl::MutexLock lock(&mu_);
  --streams_;
}

void Playground::Drain(absl::Duration patience) {
  absl::MutexLock lock(&mu_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return streams_ == 0; };
  mu_.AwaitWithTimeout(absl::Condition(&idle), patience);
}

}  // namespace peerage
