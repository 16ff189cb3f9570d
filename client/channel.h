#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace peerage::client {

// A channel to a server of ours, unencrypted; it connects with the first call. Channels share one
// connection to the same server, unless one is asked for of its own.
enum class Connection { kShared, kOwn };
std::shared_ptr<grpc::Channel> Connect(const std::string& server,
                                       Connection connection = Connection::kShared);

}  // namespace peerage::client
