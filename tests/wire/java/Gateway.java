import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.DynamicMessage;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.okhttp.OkHttpChannelBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.util.AdvancedTlsX509KeyManager;
import io.grpc.util.AdvancedTlsX509TrustManager;
import java.io.File;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;

/** A gateway that is called by its contract alone: there is no generated code. */
final class Gateway {
  private static final String SERVICE = "allocation.v1.ShipmentAllocationService";

  final ManagedChannel channel;
  private final Descriptor request;
  private final MethodDescriptor<DynamicMessage, DynamicMessage> read;

  /**
   * Opens a channel.
   *
   * @param transport netty or okhttp
   * @param files the authority's certificate, and the client's certificate and key: none, one or three
   */
  Gateway(String transport, String address, Path contract, List<String> files) throws Exception {
    ManagedChannelBuilder<?> builder =
        switch (transport) {
          case "netty" -> NettyChannelBuilder.forTarget(address, credentials(files));
          case "okhttp" -> okhttp(address, files);
          default -> throw new IllegalArgumentException(transport);
        };
    channel = builder.build();
    FileDescriptor file = files(contract).get("allocation/v1/shipment_allocation_service.proto");
    request = file.findMessageTypeByName("GetShipmentAllocationRequest");
    Descriptor response = file.findMessageTypeByName("GetShipmentAllocationResponse");
    read =
        MethodDescriptor.<DynamicMessage, DynamicMessage>newBuilder()
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, "GetShipmentAllocation"))
            .setRequestMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(request)))
            .setResponseMarshaller(ProtoUtils.marshaller(DynamicMessage.getDefaultInstance(response)))
            .build();
  }

  private static ManagedChannelBuilder<?> okhttp(String address, List<String> files) throws Exception {
    if (files.size() < 2) {
      return OkHttpChannelBuilder.forTarget(address, credentials(files));
    }
    // By itself it offers no more than TLS 1.2, and a gateway that asks for certificates wants 1.3.
    AdvancedTlsX509KeyManager own = new AdvancedTlsX509KeyManager();
    own.updateIdentityCredentials(new File(files.get(1)), new File(files.get(2)));
    AdvancedTlsX509TrustManager trusted = AdvancedTlsX509TrustManager.newBuilder().build();
    trusted.updateTrustCredentials(new File(files.get(0)));
    SSLContext context = SSLContext.getInstance("TLSv1.3");
    context.init(new KeyManager[] {own}, new TrustManager[] {trusted}, null);
    return OkHttpChannelBuilder.forTarget(address)
        .sslSocketFactory(context.getSocketFactory())
        .tlsConnectionSpec(new String[] {"TLSv1.3"}, new String[] {"TLS_AES_128_GCM_SHA256"});
  }

  private static ChannelCredentials credentials(List<String> files) throws Exception {
    if (files.isEmpty()) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder().trustManager(new File(files.get(0)));
    if (files.size() > 1) {
      tls.keyManager(new File(files.get(1)), new File(files.get(2)));
    }
    return tls.build();
  }

  private static Map<String, FileDescriptor> files(Path contract) throws Exception {
    Map<String, FileDescriptor> built = new HashMap<>();
    try (InputStream stream = Files.newInputStream(contract)) {
      // Each file comes after those that it imports.
      for (FileDescriptorProto file : FileDescriptorSet.parseFrom(stream).getFileList()) {
        FileDescriptor[] imports =
            file.getDependencyList().stream().map(built::get).toArray(FileDescriptor[]::new);
        built.put(file.getName(), FileDescriptor.buildFrom(file, imports));
      }
    }
    return built;
  }

  DynamicMessage request(String reference) {
    return DynamicMessage.newBuilder(request)
        .setField(request.findFieldByName("shipment_reference"), reference)
        .build();
  }

  ClientCall<DynamicMessage, DynamicMessage> call(CallOptions options) {
    return channel.newCall(read, options);
  }

  /** Makes a call, and returns the state that it is told. */
  String read(String reference, CallOptions options) {
    DynamicMessage response = ClientCalls.blockingUnaryCall(channel, read, options, request(reference));
    DynamicMessage allocation =
        (DynamicMessage) response.getField(response.getDescriptorForType().findFieldByName("allocation"));
    return (String) allocation.getField(allocation.getDescriptorForType().findFieldByName("state_text"));
  }
}
