#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace peerage {

// Counts the bytes of answers that are in memory because their clients have not taken them: those
// that wait in queues and those that gRPC holds, whoever they are for.
//
// Threads: safe from many. Copies count together.
class UnsentBytes {
 public:
  // A message that counts until gRPC lets go of its last byte.
  grpc::ByteBuffer Hold(std::string bytes) const {
    const auto size = static_cast<int64_t>(bytes.size());
    auto* held = new Held{std::move(bytes), total_};
    *total_ += size;
    const grpc::Slice slice(held->bytes.data(), held->bytes.size(), Held::LetGo, held);
    return grpc::ByteBuffer(&slice, 1);
  }

  int64_t total() const { return *total_; }

 private:
  struct Held {
    std::string bytes;
    std::shared_ptr<std::atomic<int64_t>> total;  // gRPC may outlive whoever counts

    static void LetGo(void* self) {
      const std::unique_ptr<Held> held(static_cast<Held*>(self));
      *held->total -= static_cast<int64_t>(held->bytes.size());
    }
  };

  std::shared_ptr<std::atomic<int64_t>> total_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace peerage
