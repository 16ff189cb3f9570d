#include "server/rpc/rpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <sys/stat.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "server/rpc/call_interceptor.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/request/answer_size.h"
#include "server/rpc/request/limits.h"
#include "server/rpc/request/read_json_request.h"

namespace peerage {
namespace {

// What gRPC has written last, such as how a call ended, is on its way through the door.
constexpr absl::Duration kLastBytesTimeout = absl::Seconds(1);

// Limits against peers that are slow, gone or hostile; gRPC's defaults trust everybody.
void SetLimits(const RpcServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(options.max_request_bytes);
  builder.SetMaxSendMessageSize(kMaxResponseBytes);
  // A small compressed message may inflate to hundreds of megabytes before its size is checked.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetResourceQuota(
      grpc::ResourceQuota("peerage").Resize(kQuotaBytes).SetMaxThreads(kQuotaThreads));
  // Two servers would share a port silently, each getting some of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5'000);
  // Half-open connections are gone within 40 s.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Who pings just that often is not to be ended because a ping was a little quicker on its way
  // than the one before.
  const absl::Duration interval = 0.9 * options.min_ping_interval;
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(interval)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 15 * 60 * 1'000);
}

// Only reflection runs on gRPC's synchronous threads; one poller is enough for it.
void UseFewSynchronousThreads(grpc::ServerBuilder& builder) {
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
}

// While it is there, files that the process makes have this mode.
class ModeOfNewFiles {
 public:
  explicit ModeOfNewFiles(unsigned mode) : mask_before_(umask(~mode & 0777)) {}
  ~ModeOfNewFiles() { umask(mask_before_); }
  ModeOfNewFiles(const ModeOfNewFiles&) = delete;
  ModeOfNewFiles& operator=(const ModeOfNewFiles&) = delete;

 private:
  const mode_t mask_before_;
};

// What these libraries do once for the whole process. Protocol Buffers would print on stderr what
// clients make it print, and nothing that helps.
void SetUpLibraries() {
  static const bool once = [] {
    google::protobuf::SetLogHandler(nullptr);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)once;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const RpcServerOptions& options,
                                                            const RpcServerParts& parts) {
  std::unique_ptr<Door> door;
  if (options.door) {
    ASSIGN_OR_RETURN(door, Door::Open({.listen = options.listen,
                                       .listen_mode = options.listen_mode,
                                       .limits = options.connections,
                                       .frames = {.streams = kMaxStreamsPerConnection},
                                       .proxies = options.proxies,
                                       .clock = &Clock::Real(),
                                       .log = parts.log,
                                       .observer = parts.door,
                                       .tls = parts.tls}));
  }
  std::unique_ptr<RpcServer> server(new RpcServer(options, parts, std::move(door)));
  RETURN_IF_ERROR(server->Serve(options));
  server->readers_->Start(parts.answers);
  server->TellHealth();
  return server;
}

RpcServer::RpcServer(const RpcServerOptions& options, const RpcServerParts& parts,
                     std::unique_ptr<Door> door)
    : door_(std::move(door)),
      grpc_log_(std::make_unique<GrpcLog>(parts.log)),
      model_{options.model_name, parts.engine->model(), parts.tokenizer, options.trace_limits,
             MostTextBytes(*parts.tokenizer)},
      readers_(std::make_shared<SlowReaders>(options.slow_readers, UnsentBytes(), parts.clock,
                                             parts.log)),
      backend_{.engine = parts.engine,
               .expert_usage = parts.expert_usage,
               .model = &model_,
               .clock = parts.clock,
               .observer = parts.observer,
               .answers = parts.answers,
               .texts = &texts_,
               .readers = readers_.get(),
               .log = parts.log,
               .door = door_.get(),
               .log_content = options.log_content},
      inference_(backend_),
      models_(&model_),
      experts_(backend_),
      admin_(backend_, options.version),
      texts_(options.texts),
      gate_(parts.authorizer, parts.clock, door_.get()) {}

RpcServer::~RpcServer() {
  Shutdown(absl::InfinitePast(), absl::InfinitePast());
  readers_->Stop();
}

absl::Status RpcServer::Serve(const RpcServerOptions& options) {
  SetUpLibraries();
  grpc::ServerBuilder builder;
  SetLimits(options, builder);
  UseFewSynchronousThreads(builder);
  address_ = options.listen;
  if (door_ != nullptr) {
    using Acceptors = grpc::ServerBuilder::experimental_type;
    acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        Acceptors::ExternalConnectionType::FROM_FD, grpc::InsecureServerCredentials());
  } else {
    builder.AddListeningPort(address_.ToString(), grpc::InsecureServerCredentials(),
                             &address_.port);
  }
  builder.SetContextAllocator(Gate::NewContexts());
  builder.RegisterService(&inference_);
  builder.RegisterService(&models_);
  builder.RegisterService(&experts_);
  builder.RegisterService(&admin_);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(InterceptCalls({.gate = &gate_,
                                         .observer = backend_.observer,
                                         .clock = backend_.clock,
                                         .calls = &calls_,
                                         .readers = readers_}));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  {
    // Where gRPC makes the socket, this alone says who may connect.
    std::optional<ModeOfNewFiles> mode;
    if (door_ == nullptr && address_.is_unix()) mode.emplace(options.listen_mode);
    server_ = builder.BuildAndStart();
  }
  if (server_ == nullptr || (door_ == nullptr && address_.port == 0)) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen.ToString(),
                                               ": the port is in use or the host not ours"));
  }
  if (door_ != nullptr) OpenDoor();
  return absl::OkStatus();
}

void RpcServer::OpenDoor() {
  address_ = door_->address();
  door_->Start([this](Descriptor connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.Release();
    acceptor_->HandleNewConnection(&parameters);
  });
}

void RpcServer::TellHealth() {
  backend_.engine->WatchReadiness([this](bool ready) {
    server_->GetHealthCheckService()->SetServingStatus(model_.name, ready);
  });
}

void RpcServer::Shutdown(absl::Time answers_deadline, absl::Time deadline) {
  if (server_ == nullptr) return;
  calls_.answers.AwaitPresent(answers_deadline);
  calls_.all.AwaitPresent(deadline);
  backend_.engine->WatchReadiness(nullptr);
  // A call that comes once gRPC's own shutdown has begun is CANCELLED, as if its client had wished
  // that. So nobody connects any more by then.
  grpc_log_.reset();  // it complains of its listener
  if (door_ != nullptr) door_->StopListening();
  grpc_server_cancel_all_calls(server_->c_server());
  server_->Shutdown(absl::ToChronoTime(absl::InfinitePast()));
  if (door_ != nullptr) door_->AwaitEnd(absl::Now() + kLastBytesTimeout);
}

absl::StatusOr<GenerateRequest> RpcServer::ReadGenerate(absl::string_view json,
                                                        absl::string_view method) const {
  Call call = NewCall(*backend_.clock, method);
  Passage passage = gate_.EnterWithoutCredentials("peerage.v1.InferenceService/GenerateStream");
  call.status = std::move(passage.refusal);
  call.origin.principal = PrincipalOf(passage);
  call.visitor = std::move(passage.visitor);
  return TellRefusal<GenerateRequest>(ReadJsonRequest(json, model_, call), call, backend_);
}

std::shared_ptr<grpc::Channel> RpcServer::InProcessChannel() {
  return server_->InProcessChannel(grpc::ChannelArguments());
}

}  // namespace peerage
