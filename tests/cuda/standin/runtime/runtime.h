#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "calls.h"
#include "device.h"
#include "handles.h"
#include "host_memory.h"
#include "program.h"
#include "reports.h"
#include "settings.h"
#include "staging.h"
#include "stream.h"

// A stand-in for libcudart.so.13 that runs kernels on the CPU (ptx.h). Test code only.
//
// Streams are queues of work; capture records the same work into a graph, and a graph's launch is
// one piece of work. One lock guards everything: a call holds it from its begin to its end
// (call.h), and work runs in whichever call waits for it.
namespace standin {

// All that the stand-in knows of this process.
struct Runtime {
  Runtime();
  // Of the settings, what can be changed while a program runs. Throws std::invalid_argument.
  void Change(const std::string& list);

  std::mutex mutex;
  std::condition_variable idle;  // a piece of work has ended
  Settings settings;
  Calls calls;
  Reports reports;
  Program program;
  HostMemory host;
  Staging staging;
  std::vector<std::unique_ptr<Device>> devices;
  Handles<Stream, cudaStream_t> streams;
  Handles<Event, cudaEvent_t> events;
  Handles<Graph, cudaGraph_t> graphs;
  Handles<Graph, cudaGraphExec_t> executables;
  std::vector<std::shared_ptr<Capture>> captures;  // that have not ended
  std::mt19937_64 random;
  std::map<std::string, ptx::Profile> profiles;  // by kernel, without namespaces and arguments
  std::set<std::string> launched;                // likewise; never forgotten
  uint64_t launches = 0;
};
Runtime& runtime();
const Runtime* ExistingRuntime();  // null: the process has not used CUDA

// Of the calling thread. There is a device when this is called.
Device& CurrentDevice();
int& CurrentDeviceNumber();

// Null: the address is no device's.
Device* DeviceOf(const void* address);

// Ends what is being captured there, with nothing made.
void EndCapture(const std::shared_ptr<Capture>& capture);

}  // namespace standin
