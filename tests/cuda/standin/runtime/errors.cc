#include "errors.h"

#include <map>
#include <set>

namespace standin {
namespace {

const std::map<int, const char*>& Names() {
  static const std::map<int, const char*> names = {
#include "cuda_error_names.inc"  // made of the toolkit's driver_types.h
  };
  return names;
}

const std::map<int, const char*>& Strings() {
  static const std::map<int, const char*> strings = {
      {cudaSuccess, "no error"},
      {cudaErrorInvalidValue, "invalid argument"},
      {cudaErrorMemoryAllocation, "out of memory"},
      {cudaErrorInitializationError, "initialization error"},
      {cudaErrorInvalidConfiguration, "invalid configuration argument"},
      {cudaErrorInvalidSymbol, "invalid device symbol"},
      {cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"},
      {cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"},
      {cudaErrorInvalidDeviceFunction, "invalid device function"},
      {cudaErrorNoDevice, "no CUDA-capable device is detected"},
      {cudaErrorInvalidDevice, "invalid device ordinal"},
      {cudaErrorInvalidKernelImage, "device kernel image is invalid"},
      {cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"},
      {cudaErrorPeerAccessUnsupported, "peer access is not supported between these two devices"},
      {cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"},
      {cudaErrorInvalidResourceHandle, "invalid resource handle"},
      {cudaErrorIllegalState, "the operation cannot be performed in the present state"},
      {cudaErrorNotReady, "device not ready"},
      {cudaErrorIllegalAddress, "an illegal memory access was encountered"},
      {cudaErrorLaunchOutOfResources, "too many resources requested for launch"},
      {cudaErrorLaunchTimeout, "the launch timed out and was terminated"},
      {cudaErrorHostMemoryAlreadyRegistered,
       "part or all of the requested memory range is already mapped"},
      {cudaErrorHostMemoryNotRegistered,
       "pointer does not correspond to a registered memory region"},
      {cudaErrorMisalignedAddress, "misaligned address"},
      {cudaErrorLaunchFailure, "unspecified launch failure"},
      {cudaErrorNotPermitted, "operation not permitted"},
      {cudaErrorNotSupported, "operation not supported"},
      {cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"},
      {cudaErrorStreamCaptureInvalidated,
       "operation failed due to a previous error during capture"},
      {cudaErrorStreamCaptureMerge,
       "operation would result in a merge of separate capture sequences"},
      {cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"},
      {cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"},
      {cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"},
      {cudaErrorStreamCaptureImplicit,
       "operation would make the legacy stream depend on a capturing blocking stream"},
      {cudaErrorCapturedEvent,
       "operation not permitted on an event last recorded in a capturing stream"},
      {cudaErrorStreamCaptureWrongThread,
       "attempt to terminate a thread-local capture sequence from another thread"},
      {cudaErrorUnknown, "unknown error"},
  };
  return strings;
}

}  // namespace

const char* ErrorName(cudaError_t error) {
  const auto found = Names().find(error);
  return found == Names().end() ? "unrecognized error code" : found->second;
}

const char* ErrorString(cudaError_t error) {
  const auto found = Strings().find(error);
  return found == Strings().end() ? ErrorName(error) : found->second;
}

int ErrorOfName(const std::string& name) {
  for (const auto& [number, known] : Names()) {
    if (name == known) return number;
  }
  return -1;
}

bool IsSticky(cudaError_t error) {
  static const std::set<int> sticky = {cudaErrorECCUncorrectable,    cudaErrorHardwareStackError,
                                       cudaErrorIllegalAddress,      cudaErrorIllegalInstruction,
                                       cudaErrorInvalidAddressSpace, cudaErrorInvalidPc,
                                       cudaErrorLaunchFailure,       cudaErrorLaunchTimeout,
                                       cudaErrorMisalignedAddress,   cudaErrorAssert,
                                       cudaErrorMpsClientTerminated, cudaErrorContained};
  return sticky.contains(error);
}

}  // namespace standin
