#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "client/credentials.h"

namespace peerage::client {

// A channel to a server of ours, with TLS where the credentials say so; it connects with the first
// call. Channels share one connection to the same server, unless one is asked for of its own.
enum class Connection { kShared, kOwn };
std::shared_ptr<grpc::Channel> Connect(const std::string& server, const Credentials& credentials,
                                       Connection connection = Connection::kShared);

// Shows the token, if there is one, with a call.
void AddToken(const Credentials& credentials, grpc::ClientContext& context);

}  // namespace peerage::client
