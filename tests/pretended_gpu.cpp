// A GPU that is none: its memory is the host's, and each of its kernels is the CPU's. See pretended_gpu.py.
//
// Torch leaves room for the parts of a device that another library brings. Here they are for "cuda": a guard, which says
// that there is one device with one stream; hooks, for random numbers; an allocator; and kernels. Where torch asks for
// the hooks of CUDA, it gets ours, as this library is looked into before torch's own.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

using at::Tensor;

namespace {

const c10::Device GPU(c10::kCUDA, 0);

// ---- Waiting: what a GPU's queue has to be empty for ----

bool waiting_is_forbidden = false;

void wait(const std::string& why) {
  TORCH_CHECK(!waiting_is_forbidden, "called a synchronizing CUDA operation: ", why);
}

// ---- The device ----

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = c10::kCUDA;
  c10::DeviceType type() const override { return static_type; }
  c10::Device exchangeDevice(c10::Device) const override { return GPU; }
  c10::Device getDevice() const override { return GPU; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, GPU); }
  c10::Stream getDefaultStream(c10::Device) const override { return getStream(GPU); }
  c10::Stream exchangeStream(c10::Stream) const override { return getStream(GPU); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override { *event = nullptr; }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = bytes ? std::malloc(bytes) : nullptr;
    return {memory, memory, &std::free, GPU};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Memory memory;
REGISTER_ALLOCATOR(c10::kCUDA, &memory);

struct Noise final : c10::GeneratorImpl {
  at::Generator on_cpu = at::detail::createCPUGenerator();
  Noise() : GeneratorImpl(GPU, c10::DispatchKeySet(c10::DispatchKey::CUDA)) {}
  void set_current_seed(uint64_t seed) override { on_cpu.set_current_seed(seed); }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return on_cpu.current_seed(); }
  uint64_t seed() override { return on_cpu.seed(); }
  void set_state(const c10::TensorImpl& state) override { on_cpu.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return on_cpu.unsafeGetGeneratorImpl()->get_state(); }
  Noise* clone_impl() const override { return new Noise(); }
};

struct Hooks final : at::CUDAHooksInterface {
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static const at::Generator noise = at::make_generator<Noise>();
    return noise;
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::make_generator<Noise>(); }
};

// ---- One memory, two names for it ----

Tensor named(const Tensor& tensor, c10::Device device, c10::DispatchKey key) {
  auto* kept = new c10::Storage(tensor.storage());
  c10::DataPtr data(kept->mutable_data(), kept, [](void* p) { delete static_cast<c10::Storage*>(p); }, device);
  c10::Storage storage({}, tensor.storage().nbytes(), std::move(data), nullptr, false);
  auto other = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), tensor.dtype());
  other.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  return other;
}

Tensor on_cpu(const Tensor& tensor) {
  return tensor.defined() && tensor.is_cuda() ? named(tensor, c10::kCPU, c10::DispatchKey::CPU) : tensor;
}

Tensor on_gpu(const Tensor& tensor) {
  return tensor.defined() && !tensor.is_cuda() ? named(tensor, GPU, c10::DispatchKey::CUDA) : tensor;
}

// ---- Kernels ----

const std::set<std::string> WAIT = {  // for numbers that the host needs to go on
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2", "aten::unique_dim"};
const std::set<std::string> FETCH = {"aten::index", "aten::_index_put_impl_"};  // places that the host has

// What an operator is given, turned into what the CPU's kernel is to be given.
class Arguments {
 public:
  Arguments(const c10::FunctionSchema& schema, c10::IValue* given) : schema_(schema) {
    for (size_t i = 0; i < schema.arguments().size(); i++) {
      given_.push_back(given[i]);
      given[i] = translated(given[i], written(i));
    }
    TORCH_CHECK(!gpu_ || !host_ || FETCH.count(schema.name()), schema.name(), ": Expected all tensors to be on the same device");
    if (gpu_ && host_) wait(schema.name());
  }

  // After the kernel: what was empty before and has been given numbers.
  void finish() {
    for (auto& [ours, theirs] : grown_) {
      if (theirs.numel() == 0) continue;
      at::native::resize_impl_cpu_(ours.unsafeGetTensorImpl(), theirs.sizes(), std::nullopt, true);
      on_cpu(ours).copy_(theirs);
    }
  }

  // What a kernel gave, turned back: an argument where it has been written into, or else something new.
  c10::IValue turned_back(const c10::IValue& result, const c10::AliasInfo* alias) const {
    if (result.isTensorList()) {
      std::vector<Tensor> tensors;
      for (const Tensor& tensor : result.toTensorVector()) tensors.push_back(on_gpu(tensor));
      return tensors;
    }
    if (!result.isTensor()) return result;
    for (size_t i = 0; alias && i < given_.size(); i++)
      if (written(i) && *schema_.arguments()[i].alias_info() == *alias) return given_[i];
    TORCH_CHECK(!alias, schema_.name(), " gives a view, which has to be made here");
    return on_gpu(result.toTensor());
  }

 private:
  bool written(size_t i) const {
    const auto* alias = schema_.arguments()[i].alias_info();
    return alias && alias->isWrite();
  }

  Tensor noted(const Tensor& tensor) {
    if (tensor.defined()) {
      gpu_ |= tensor.is_cuda();
      host_ |= !tensor.is_cuda() && tensor.dim() > 0;  // a single number may come from anywhere
    }
    return on_cpu(tensor);
  }

  c10::IValue translated(const c10::IValue& value, bool written) {
    if (value.isTensor()) {
      Tensor tensor = noted(value.toTensor());
      if (!written || !tensor.defined() || tensor.numel()) return tensor;
      grown_.emplace_back(value.toTensor(), at::empty({0}, tensor.options()));  // a second name cannot grow
      return grown_.back().second;
    }
    if (value.isTensorList()) {
      std::vector<Tensor> tensors;
      for (const Tensor& tensor : value.toTensorVector()) tensors.push_back(noted(tensor));
      return tensors;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> tensors;
      for (const std::optional<Tensor>& tensor : value.toOptionalTensorList().vec())
        tensors.push_back(tensor ? std::optional<Tensor>(noted(*tensor)) : tensor);
      return tensors;
    }
    if (value.isGenerator()) {
      const auto noise = value.toGenerator();
      TORCH_CHECK(noise.device().is_cuda(), schema_.name(), ": Expected a 'cuda' device type for generator");
      return static_cast<Noise*>(noise.unsafeGetGeneratorImpl())->on_cpu;
    }
    if (value.isDevice() && value.toDevice().is_cuda()) return c10::Device(c10::kCPU);
    return value;
  }

  const c10::FunctionSchema& schema_;
  std::vector<c10::IValue> given_;
  std::vector<std::pair<Tensor, Tensor>> grown_;
  bool gpu_ = false, host_ = false;
};

void any(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  if (WAIT.count(schema.name())) wait(schema.name());
  Arguments arguments(schema, stack->data() + stack->size() - schema.arguments().size());
  op.callBoxed(stack);
  arguments.finish();
  c10::IValue* results = stack->data() + stack->size() - schema.returns().size();
  for (size_t i = 0; i < schema.returns().size(); i++)
    results[i] = arguments.turned_back(results[i], schema.returns()[i].alias_info());
}
TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&any>()); }

Tensor empty(
    at::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>, std::optional<c10::Device>,
    std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  const c10::DispatchKeySet keys(c10::DispatchKey::CUDA);
  return at::detail::empty_generic(size, &memory, keys, c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(
    at::IntArrayRef size, at::IntArrayRef stride, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device>, std::optional<bool>) {
  const c10::DispatchKeySet keys(c10::DispatchKey::CUDA);
  return at::detail::empty_strided_generic(size, stride, &memory, keys, c10::dtype_or_default(dtype));
}

Tensor& copy_(Tensor& to, const Tensor& from, bool non_blocking) {
  if (to.is_cuda() != from.is_cuda() && !non_blocking) wait("a copy between host and device");
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

const Tensor& resize_(const Tensor& tensor, at::IntArrayRef size, std::optional<c10::MemoryFormat>) {
  at::native::resize_impl_cpu_(tensor.unsafeGetTensorImpl(), size, std::nullopt, true);
  return tensor;
}

Tensor& set_(Tensor& tensor, c10::Storage storage) {
  const auto n = static_cast<int64_t>(storage.nbytes() / tensor.dtype().itemsize());
  tensor.unsafeGetTensorImpl()->set_storage_keep_dtype(std::move(storage));
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous({n});
  return tensor;
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("copy_", copy_);
  m.impl("resize_", resize_);
  m.impl("set_.source_Storage", set_);
  m.impl("view", at::native::view);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
}

}  // namespace

// ---- Found before torch's own ----

namespace at::detail {
const CUDAHooksInterface& getCUDAHooks() {
  static const Hooks hooks;
  return hooks;
}
}  // namespace at::detail

namespace at::accelerator {
std::optional<c10::DeviceType> getAccelerator(bool) { return c10::kCUDA; }
}  // namespace at::accelerator

extern "C" bool forbid_waiting(bool forbidden) { return std::exchange(waiting_is_forbidden, forbidden); }
