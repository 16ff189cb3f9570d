#pragma once

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/unsent_bytes.h"

namespace peerage {

// Messages as gRPC carries them, for calls that parse them where texts are read. gRPC itself would
// parse on its own threads, and end a call whose bytes are no such message with UNIMPLEMENTED and
// no word.

// INVALID_ARGUMENT for bytes that are no Message: `what` says which ones, as in "the request".
template <typename Message>
absl::StatusOr<Message> ParseMessage(const grpc::ByteBuffer& bytes, absl::string_view what) {
  Message message;
  grpc::ByteBuffer taken = bytes;  // a reference to the same slices, which parsing lets go of
  if (grpc::SerializationTraits<Message>::Deserialize(&taken, &message).ok()) return message;
  return absl::InvalidArgumentError(absl::StrCat(what, " is not a valid ",
                                                 Message::descriptor()->name(),
                                                 ": its bytes do not parse, or a text of it is not "
                                                 "UTF-8"));
}

template <typename Message>
grpc::ByteBuffer SerializeMessage(const Message& message, const UnsentBytes& unsent) {
  return unsent.Hold(message.SerializeAsString());
}

}  // namespace peerage
