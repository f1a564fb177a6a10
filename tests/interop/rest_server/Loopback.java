import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.net.InetSocketAddress;

import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServer;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;

/** Iceberg's REST reference server on the loopback address: by itself it listens on all addresses. */
public class Loopback {
    /** Configured by variables CATALOG_*, as the server itself. Argument: the port. */
    public static void main(String[] arguments) throws Exception {
        Constructor<?> made = open(RESTCatalogServer.class.getDeclaredConstructor());
        Method backend = RESTCatalogServer.class.getDeclaredMethod("initializeBackendCatalog");
        backend.setAccessible(true);
        Object context = backend.invoke(made.newInstance());
        Constructor<?> adapter = open(
            Class.forName("org.apache.iceberg.rest.RESTServerCatalogAdapter").getDeclaredConstructor(context.getClass()));
        ServletContextHandler handler = new ServletContextHandler(ServletContextHandler.NO_SESSIONS);
        RESTCatalogServlet servlet = new RESTCatalogServlet((RESTCatalogAdapter) adapter.newInstance(context));
        handler.addServlet(new ServletHolder(servlet), "/*");
        Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
        server.setHandler(handler);
        server.start();
        server.join();
    }

    private static Constructor<?> open(Constructor<?> constructor) {
        constructor.setAccessible(true);
        return constructor;
    }
}
