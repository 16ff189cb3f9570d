#include "server/rpc/request/call_metadata.h"

#include <grpc/support/time.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "server/engine/deadline.h"
#include "server/identity/principal.h"
#include "server/rpc/request/call_context.h"
#include "server/rpc/request/field_errors.h"
#include "server/rpc/request/limits.h"
#include "server/rpc/request/trace_parent.h"

namespace peerage {
namespace {

constexpr char kRequestId[] = "x-request-id";
constexpr char kTraceParent[] = "traceparent";

bool IsPrintable(char c) { return c >= 0x20 && c <= 0x7e; }

std::string NewRequestId() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  const uint64_t high = random();
  const uint64_t low = random();
  return absl::StrFormat("%016x%016x", high, low);
}

absl::StatusOr<std::string> ChooseRequestId(const grpc::CallbackServerContext& context) {
  const auto [first, last] = context.client_metadata().equal_range(kRequestId);
  if (first == last) return NewRequestId();
  if (std::next(first) != last) return FieldError(kRequestId, "must be given at most once");
  const absl::string_view id(first->second.data(), first->second.size());
  if (id.empty() || id.size() > kMaxRequestIdBytes ||
      !std::all_of(id.begin(), id.end(), IsPrintable))
    return FieldError(kRequestId, "must be 1 to 128 printable ASCII characters");
  return std::string(id);
}

// What is left of gRPC's deadline carries over to our clock. As seconds: its std::chrono has a year
// 2262 at most, and takes what is later for past.
absl::Time ReadDeadline(const grpc::CallbackServerContext& context, absl::Time now) {
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
    return absl::InfiniteFuture();
  }
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return now + absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec);
}

}  // namespace

Call NewCall(const Clock& clock, absl::string_view method) {
  Call call{.arrival = clock.Now(), .deadline = absl::InfiniteFuture()};
  call.origin.method = std::string(method);
  call.origin.request_id = NewRequestId();
  return call;
}

absl::StatusOr<std::string> ReadRequestId(grpc::CallbackServerContext& context) {
  ASSIGN_OR_RETURN(std::string id, ChooseRequestId(context));
  context.AddInitialMetadata(kRequestId, id);
  return id;
}

absl::Status BeginCall(grpc::CallbackServerContext& context) {
  const absl::Status id = ReadRequestId(context).status();
  absl::Status status = PassageOf(context).refusal;
  status.Update(id);
  return status;
}

std::string EchoedRequestId(const std::multimap<std::string, std::string>& sent) {
  const auto found = sent.find(kRequestId);
  return found == sent.end() ? std::string() : found->second;
}

RequestOrigin ReadTrace(const std::multimap<grpc::string_ref, grpc::string_ref>& received) {
  RequestOrigin origin;
  const auto [first, last] = received.equal_range(kTraceParent);
  if (first == last || std::next(first) != last) return origin;
  auto parent = ParseTraceParent({first->second.data(), first->second.size()});
  if (!parent.has_value()) return origin;
  origin.trace_id = std::move(parent->trace_id);
  origin.span_id = std::move(parent->span_id);
  return origin;
}

std::string CallerOf(const Call& call) {
  const bool is_known = call.visitor != nullptr && call.visitor->principal() != kAnonymous;
  return is_known ? absl::StrCat("principal ", call.visitor->principal())
                  : absl::StrCat("host ", call.host);
}

absl::Status CheckWanted(const Call& call, bool cancelled, absl::Time now) {
  RETURN_IF_ERROR(call.status);
  if (cancelled) return CancelledAt(now, call.arrival, call.deadline);
  if (now < call.deadline) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed before the request was read");
}

Call ReadCall(grpc::CallbackServerContext& context, const Clock& clock, absl::string_view method) {
  Call call;
  call.arrival = clock.Now();
  call.deadline = ReadDeadline(context, call.arrival);
  call.origin = ReadTrace(context.client_metadata());
  call.origin.method = std::string(method);
  absl::StatusOr<std::string> id = ReadRequestId(context);
  Passage passage = PassageOf(context);
  call.status = std::move(passage.refusal);
  call.status.Update(id.status());
  call.origin.principal = PrincipalOf(passage);
  call.visitor = std::move(passage.visitor);
  call.host = std::move(passage.host);
  if (id.ok()) call.origin.request_id = *std::move(id);
  return call;
}

}  // namespace peerage
