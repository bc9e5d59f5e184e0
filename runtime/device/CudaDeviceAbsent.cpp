// SPDX-License-Identifier: Apache-2.0
// CudaDevice in a build without CUDA's headers: there is none, so that nothing but `open` is ever called.
#include "runtime/device/CudaDevice.h"

namespace morph {
namespace {

Status absent() { return Status::failed("no CUDA device: Morph was built without CUDA", "build with -DMORPH_CUDA=ON"); }

} // namespace

struct CudaState {};

CudaModule::CudaModule(CudaModule &&) noexcept = default;
CudaModule &CudaModule::operator=(CudaModule &&) noexcept = default;
CudaModule::~CudaModule() = default;
StatusOr<CudaFunction> CudaModule::find(const std::string &) const { return absent(); }

CudaGraph::CudaGraph(CudaGraph &&) noexcept = default;
CudaGraph &CudaGraph::operator=(CudaGraph &&) noexcept = default;
CudaGraph::~CudaGraph() = default;

StatusOr<std::shared_ptr<CudaDevice>> CudaDevice::open(int) { return absent(); }
StatusOr<CudaProperties> CudaDevice::describe(int) { return absent(); }
StatusOr<std::string> CudaDevice::productLibrary() { return absent(); }
CudaDevice::~CudaDevice() = default;
int CudaDevice::ordinal() const { return 0; }
const CudaProperties &CudaDevice::properties() const {
  static const CudaProperties none;
  return none;
}
StatusOr<int64_t> CudaDevice::freeBytes() const { return absent(); }
bool CudaDevice::waits() const { return false; }
bool CudaDevice::checksAccesses() const { return false; }
void *CudaDevice::stream() const { return nullptr; }
StatusOr<void *> CudaDevice::allocate(int64_t, const std::string &) { return absent(); }
void CudaDevice::release(void *) {}
bool CudaDevice::owns(const void *) const { return false; }
int64_t CudaDevice::allocations() const { return 0; }
int64_t CudaDevice::heldBytes() const { return 0; }
int64_t CudaDevice::peakBytes() const { return 0; }
void CudaDevice::restartPeak() {}
Status CudaDevice::copyIn(void *, const void *, int64_t) { return absent(); }
Status CudaDevice::copyOut(void *, const void *, int64_t) { return absent(); }
Status CudaDevice::copy(void *, const void *, int64_t) { return absent(); }
Status CudaDevice::fill(void *, uint8_t, int64_t) { return absent(); }
Status CudaDevice::fillWords(void *, uint32_t, int64_t) { return absent(); }
StatusOr<CudaModule> CudaDevice::load(const std::string &, const std::string &) { return absent(); }
Status CudaDevice::launch(const CudaFunction &, Dim3, Dim3, int64_t, void *const *, const std::string &,
                          const std::vector<CudaSpan> &) {
  return absent();
}
Status CudaDevice::product(const CudaProduct &, const void *, const void *, const void *, void *, const std::string &,
                           std::vector<CudaSpan>) {
  return absent();
}
Status CudaDevice::prepareProducts(const std::string &) { return absent(); }
int64_t CudaDevice::measuredProducts() const { return 0; }
Status CudaDevice::synchronize() { return absent(); }
StatusOr<CudaGraph> CudaDevice::capture(const std::function<Status()> &) { return absent(); }
Status CudaDevice::launch(const CudaGraph &, const std::string &) { return absent(); }
StatusOr<double> CudaDevice::secondsOf(const std::function<Status()> &) { return absent(); }

} // namespace morph
