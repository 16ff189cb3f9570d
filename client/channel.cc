#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "client/server_address.h"

namespace peerage::client {

std::shared_ptr<grpc::Channel> Connect(const std::string& server, Connection connection) {
  grpc::ChannelArguments arguments;
  // A score of many continuations is larger than gRPC's default of 4 MiB.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetUserAgentPrefix("peerage/" PEERAGE_VERSION);
  // A proxy leads out of this machine: http_proxy is not meant for what runs on it.
  if (IsOnThisMachine(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (connection == Connection::kOwn) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace peerage::client
