#include "server/rpc/expert_service.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "server/engine/error_reason.h"
#include "server/rpc/expert_summary_call.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/may_change.h"
#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/request/validate.h"
#include "server/rpc/to_proto.h"

namespace peerage {
namespace {

constexpr absl::Duration kDefaultInterval = absl::Seconds(15);

UsageWindow ConvertWindow(v1::UsageWindow window) {
  return window == v1::USAGE_WINDOW_RECENT ? UsageWindow::kRecent : UsageWindow::kTotal;
}

// "layer 3 of kind PEER".
std::string Describe(uint32_t layer, v1::ExpertLayerKind kind) {
  const std::string& name = v1::ExpertLayerKind_Name(kind);
  return absl::StrCat("layer ", layer, " of kind ", absl::StripPrefix(name, "EXPERT_LAYER_KIND_"));
}

absl::StatusOr<int> FindLayer(const std::vector<ExpertLayer>& layers,
                              const v1::GetExpertUsageRequest& request) {
  std::vector<std::string> known;
  for (size_t i = 0; i < layers.size(); ++i) {
    const v1::ExpertLayerKind kind = ToProto(layers[i].kind);
    if (layers[i].layer == request.layer() && kind == request.kind()) return static_cast<int>(i);
    if (known.size() < 16) known.push_back(Describe(layers[i].layer, kind));
  }
  absl::Status unknown = absl::NotFoundError(
      absl::StrCat("the model has no expert ", Describe(request.layer(), request.kind()),
                   "; it has ", known.empty() ? "no experts" : absl::StrJoin(known, ", "),
                   known.size() < layers.size() ? ", ..." : ""));
  SetErrorReason(unknown, "EXPERT_LAYER_NOT_FOUND");
  return unknown;
}

absl::StatusOr<ExpertUsageQuery> Prepare(const v1::GetExpertUsageRequest& request,
                                         const ServedModel& model) {
  RETURN_IF_ERROR(Validate(request, model));
  const std::vector<ExpertLayer>& layers = model.description.expert_layers;
  ASSIGN_OR_RETURN(const int expert_layer, FindLayer(layers, request));
  ExpertUsageQuery query{.expert_layer = expert_layer, .window = ConvertWindow(request.window())};
  query.header.set_model(model.name);
  query.header.set_layer(request.layer());
  query.header.set_kind(request.kind());
  query.header.set_num_experts(layers[expert_layer].num_experts);
  return query;
}

absl::StatusOr<ExpertSummaryQuery> Prepare(const v1::WatchExpertSummaryRequest& request,
                                           const ServedModel& model) {
  RETURN_IF_ERROR(Validate(request, model));
  ExpertSummaryQuery query{.window = ConvertWindow(request.window()), .interval = kDefaultInterval};
  if (request.has_interval()) {
    query.interval =
        absl::Seconds(request.interval().seconds()) + absl::Nanoseconds(request.interval().nanos());
  }
  return query;
}

template <typename Request>
auto PrepareCall(const Request& request, const ServedModel& model,
                 grpc::CallbackServerContext* context) -> decltype(Prepare(request, model)) {
  RETURN_IF_ERROR(BeginCall(*context));
  return Prepare(request, model);
}

}  // namespace

grpc::ServerWriteReactor<v1::GetExpertUsageResponse>* ExpertService::GetExpertUsage(
    grpc::CallbackServerContext* context, const v1::GetExpertUsageRequest* request) {
  absl::StatusOr<ExpertUsageQuery> query = PrepareCall(*request, *backend_.model, context);
  if (!query.ok()) {
    return Refuse<grpc::ServerWriteReactor<v1::GetExpertUsageResponse>>(query.status(), context);
  }
  return ExpertUsageCall::Start(backend_.expert_usage, *std::move(query), context, usage_reads_);
}

grpc::ServerWriteReactor<v1::WatchExpertSummaryResponse>* ExpertService::WatchExpertSummary(
    grpc::CallbackServerContext* context, const v1::WatchExpertSummaryRequest* request) {
  const absl::StatusOr<ExpertSummaryQuery> query = PrepareCall(*request, *backend_.model, context);
  if (!query.ok()) {
    return Refuse<grpc::ServerWriteReactor<v1::WatchExpertSummaryResponse>>(query.status(),
                                                                            context);
  }
  return ExpertSummaryCall::Start(backend_, *query, context);
}

grpc::ServerUnaryReactor* ExpertService::ResetExpertUsage(
    grpc::CallbackServerContext* context, const v1::ResetExpertUsageRequest* request,
    v1::ResetExpertUsageResponse* response) {
  absl::Status status = BeginCall(*context);
  status.Update(CheckMayChange(*context, backend_.door, "ResetExpertUsage"));
  status.Update(backend_.model->CheckName(request->model()));
  if (!status.ok()) return FinishUnary(status, context);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  backend_.expert_usage->Reset([reactor, context](const absl::Status& done) {
    reactor->Finish(ToGrpcStatus(done, *context));
  });
  return reactor;
}

}  // namespace peerage
