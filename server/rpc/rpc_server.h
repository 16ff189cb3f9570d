#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "model/tokenizer/tokenizer.h"
#include "server/door/door.h"
#include "server/door/tls_context.h"
#include "server/engine/clock.h"
#include "server/engine/engine.h"
#include "server/engine/observer.h"
#include "server/experts/background_lane.h"
#include "server/experts/expert_usage_reader.h"
#include "server/listen_address.h"
#include "server/log/log.h"
#include "server/rpc/admin_service.h"
#include "server/rpc/backend.h"
#include "server/rpc/calls_in_flight.h"
#include "server/rpc/expert_service.h"
#include "server/rpc/gate.h"
#include "server/rpc/grpc_log.h"
#include "server/rpc/inference_service.h"
#include "server/rpc/model_service.h"
#include "server/rpc/request/served_model.h"
#include "server/rpc/slow_readers.h"
#include "server/rpc/text_pool.h"

namespace peerage {

struct RpcServerOptions {
  ListenAddress listen{"127.0.0.1", 50051};  // port 0 takes a free one
  unsigned listen_mode = 0600;               // of the file of a Unix socket
  // Clients come in by a door; else gRPC listens itself, for who is behind a proxy that guards it.
  bool door = true;
  ConnectionLimits::Limits connections;
  AddressRanges proxies;
  std::string model_name;
  std::string version;
  TraceLimits trace_limits;
  TextPoolOptions texts;
  SlowReaderLimits slow_readers;
  int max_request_bytes = kMaxRequestBytes;
  // A connection that is pinged more often without data is ended; 0 allows everything.
  absl::Duration min_ping_interval = absl::Seconds(10);
  bool log_content = false;
};

// What the server serves with. All must outlive it.
struct RpcServerParts {
  Engine* engine = nullptr;
  const Tokenizer* tokenizer = nullptr;
  const Clock* clock = nullptr;        // the engine's
  EngineObserver* observer = nullptr;  // the engine's
  ExpertUsageReader* expert_usage = nullptr;
  BackgroundLane* answers = nullptr;  // Backend::answers
  Authorizer* authorizer = nullptr;   // none: everybody may do everything
  const CurrentTls* tls = nullptr;    // none: plaintext. Only with a door
  Log* log = nullptr;                 // gRPC's own lines go there, too
  DoorObserver* door = nullptr;       // may be null, unlike the rest
};

// The gRPC server: the services of peerage.v1, grpc.health.v1 ("" is alive, the model's name is
// ready while the engine is) and reflection, with the limits that a server facing strangers needs.
//
// Threads: Start and the destructor from one thread, the rest from any.
class RpcServer {
 public:
  // Listens and serves. UNAVAILABLE when the address cannot be listened on: the port is in use, or
  // the host is not this machine's.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const RpcServerOptions& options,
                                                          const RpcServerParts& parts);

  // As after Shutdown(InfinitePast, InfinitePast).
  ~RpcServer();

  // Where it listens, with the port that was taken.
  const ListenAddress& address() const { return address_; }

  // Returns when the calls that run have ended, with all connections closed: those with results on
  // their way to clients, or at `answers_deadline`; then the others, or at `deadline` (both of the
  // system's clock). A call that comes meanwhile or does not end is UNAVAILABLE to its client.
  // Drain the engine first, or beside it.
  void Shutdown(absl::Time answers_deadline, absl::Time deadline);

  // What the engine will run of a v1.GenerateRequest that came as JSON by another way, which the
  // log calls `method`; see read_json_request.h. Its caller shows no credentials: he may what a
  // GenerateStream without any may.
  absl::StatusOr<GenerateRequest> ReadGenerate(absl::string_view json,
                                               absl::string_view method) const;

  // Where what clients wrote is read.
  TextPool& texts() { return texts_; }

  // Who looks after those who do not take their answers.
  const SlowReaders& readers() const { return *readers_; }

  // A channel without sockets.
  std::shared_ptr<grpc::Channel> InProcessChannel();

 private:
  RpcServer(const RpcServerOptions& options, const RpcServerParts& parts,
            std::unique_ptr<Door> door);

  absl::Status Serve(const RpcServerOptions& options);
  void OpenDoor();
  // Health follows the engine's readiness from here on.
  void TellHealth();

  // Null where gRPC listens. Outlives the services, which ask it who calls.
  const std::unique_ptr<Door> door_;
  std::unique_ptr<GrpcLog> grpc_log_;
  const ServedModel model_;
  const std::shared_ptr<SlowReaders> readers_;
  const Backend backend_;
  InferenceService inference_;
  ModelService models_;
  ExpertService experts_;
  AdminService admin_;
  TextPool texts_;  // behind what its last tasks look at
  const Gate gate_;
  RunningCalls calls_;
  ListenAddress address_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;  // for the door
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace peerage
