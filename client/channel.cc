#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "client/server_address.h"

namespace peerage::client {

namespace {

std::shared_ptr<grpc::ChannelCredentials> ChannelCredentialsOf(const Credentials& credentials) {
  if (!credentials.tls()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = credentials.authorities;
  options.pem_cert_chain = credentials.certificate;
  options.pem_private_key = credentials.key;
  return grpc::SslCredentials(options);
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& server, const Credentials& credentials,
                                       Connection connection) {
  grpc::ChannelArguments arguments;
  // A score of many continuations is larger than gRPC's default of 4 MiB.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetUserAgentPrefix("peerage/" PEERAGE_VERSION);
  // A proxy leads out of this machine: http_proxy is not meant for what runs on it.
  if (IsOnThisMachine(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (connection == Connection::kOwn) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server, ChannelCredentialsOf(credentials), arguments);
}

// By hand: gRPC's own credentials of calls are for TLS alone, and a token may go through a proxy
// that does TLS on this machine.
void AddToken(const Credentials& credentials, grpc::ClientContext& context) {
  if (!credentials.token.empty()) {
    context.AddMetadata("authorization", "Bearer " + credentials.token);
  }
}

}  // namespace peerage::client
