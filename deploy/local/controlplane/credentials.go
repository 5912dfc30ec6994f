package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/csv"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
)

const (
	serviceAccountKey       = "service-account.key" // signs and verifies the tokens of service accounts
	tokenFile               = "tokens.csv"
	certificateFolder       = "certificates"
	certificateFile         = certificateFolder + "/apiserver.crt" // the server's, then its authority's
	authorityFile           = certificateFolder + "/ca.crt"
	adminKubeconfig         = "kubeconfig"
	controllersKubeconfig   = "controller-manager.kubeconfig"
	schedulerKubeconfig     = "scheduler.kubeconfig"
	clusterName             = "tridentserve-local"
	privateFile             = 0o600
	bytesOfRandomnessPerKey = 32
)

// accounts are the users that the API server knows by a token, and the kubeconfig each finds it in.
var accounts = []struct{ kubeconfig, user, group string }{
	{adminKubeconfig, "admin", "system:masters"},
	{controllersKubeconfig, "system:kube-controller-manager", ""},
	{schedulerKubeconfig, "system:kube-scheduler", ""},
}

// ensureCredentials makes the service account key and the tokens, unless a former run left them:
// a restarted cluster must go on to accept the tokens that its pods and users hold.
func ensureCredentials(folder *dataFolder) error {
	if err := createOnce(folder.path(serviceAccountKey), newKey); err != nil {
		return err
	}
	return createOnce(folder.path(tokenFile), newTokens)
}

// createOnce writes a private file whole or not at all, and only where there is none.
func createOnce(path string, content func(*os.File) error) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, privateFile)
	if err != nil {
		return err
	}
	if err := errors.Join(content(file), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

func newKey(file *os.File) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return pem.Encode(file, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// newTokens writes lines of token, user, uid, groups, as --token-auth-file wants them.
func newTokens(file *os.File) error {
	writer := csv.NewWriter(file)
	for _, account := range accounts {
		random := make([]byte, bytesOfRandomnessPerKey)
		if _, err := rand.Read(random); err != nil {
			return err
		}
		if err := writer.Write([]string{hex.EncodeToString(random), account.user, account.user, account.group}); err != nil {
			return err
		}
	}
	writer.Flush()
	return writer.Error()
}

// writeAuthority puts the authority that the API server made and signed its certificate with, the
// last one in its file, into a file of its own.
func writeAuthority(folder *dataFolder) error {
	certificates, err := cert.CertsFromFile(folder.path(certificateFile))
	if err != nil {
		return err
	}
	authority, err := cert.EncodeCertificates(certificates[len(certificates)-1])
	if err != nil {
		return err
	}
	return os.WriteFile(folder.path(authorityFile), authority, privateFile)
}

// writeKubeconfigs writes one kubeconfig an account, with the authority inside, so that it can be
// copied elsewhere.
func writeKubeconfigs(folder *dataFolder, server string) error {
	authority, err := os.ReadFile(folder.path(authorityFile))
	if err != nil {
		return err
	}
	file, err := os.Open(folder.path(tokenFile))
	if err != nil {
		return err
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return fmt.Errorf("reading %s: %w", tokenFile, err)
	}
	if len(lines) != len(accounts) {
		return fmt.Errorf("%s has %d lines, not %d", tokenFile, len(lines), len(accounts))
	}
	for i, account := range accounts {
		config := kubeconfig(server, authority, account.user, lines[i][0])
		if err := clientcmd.WriteToFile(*config, folder.path(account.kubeconfig)); err != nil {
			return err
		}
	}
	return nil
}

func kubeconfig(server string, authority []byte, user, token string) *clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters[clusterName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[clusterName] = &clientcmdapi.Context{Cluster: clusterName, AuthInfo: user}
	config.CurrentContext = clusterName
	return config
}
